"""Which segment a record comes into, whether it may move, and what follows it there."""

import pytest

from reallot.server.languages import say
from reallot.storage.entities import Owner, OwnerKind
from support.api import a_row, a_segment, resource, seller_owner
from support.office import Office, everybody, leads, listed
from support.rows import a_seller

TO_ANN, TO_BOB = [listed("a", "ann")], [listed("b", "bob")]


def staff(office: Office) -> None:
    office.hire(a_seller("ann"), a_seller("bob"))


def scored(segment_id: str, priority: int, condition: str, **parts: object) -> dict[str, object]:
    return a_segment(segment_id, priority, condition=f"record.score {condition}", **parts)


def placed(office: Office, record_id: str = "L1") -> tuple[str, str, str, str]:
    """Return segment, status of segmenting, owner and status of assigning."""
    found = office.record(record_id)
    return found.segment_id, found.segmentation, office.owner(record_id), found.assignment


def arrive(office: Office, *scores: int, **parts: object) -> None:
    """Have one lead take these scores, one after the other."""
    for score in scores:
        office.upsert(a_row("L1", {"score": score}))
        office.work()


def test_the_first_matching_segment_in_order_of_priority_takes_a_record(office: Office) -> None:
    office.apply(*leads(scored("second", 2, "> 1"), scored("first", 1, "> 5"), everybody("rest")))
    office.upsert(*(a_row(f"L{score}", {"score": score}) for score in (9, 3, 1)))
    office.work()
    assert [office.record(i).segment_id for i in ("L9", "L3", "L1")] == ["first", "second", "rest"]


def test_a_record_that_no_segment_matches_is_told_so(office: Office) -> None:
    office.apply(*leads(scored("high", 1, "> 5")))
    arrive(office, 1)
    assert placed(office) == ("", "NO_SEGMENT", "", "NO_RULE_IN_SEGMENT")
    assert office.record("L1").reason == say("in_no_segment")


def test_a_missing_value_matches_nothing(office: Office) -> None:
    office.apply(*leads(scored("low", 1, "< 5"), scored("not", 2, "!= 3")))
    office.lead("L1", country="DE")
    office.work()
    assert placed(office)[:2] == ("", "NO_SEGMENT")


def test_a_segment_that_accepts_no_moves_takes_no_record_of_another(office: Office) -> None:
    office.apply(*leads(scored("high", 1, "> 5", rules=TO_BOB), scored("low", 2, "<= 5", rules=TO_ANN)))
    staff(office)
    arrive(office, 1, 9)
    assert placed(office) == ("low", "MOVE_NOT_ALLOWED", "ann", "ASSIGNED")


def test_a_lower_segment_that_accepts_moves_does_not_stand_in_for_the_first_that_does_not(office: Office) -> None:
    middle = scored("middle", 2, "> 2", accepts_moves=True)
    office.apply(*leads(scored("high", 1, "> 5"), middle, scored("low", 3, "<= 2")))
    arrive(office, 1, 9)
    assert placed(office)[:2] == ("low", "MOVE_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("policy", "segment", "segmentation", "owner"),
    [
        ("STAY", "high", "UNCHANGED", "ann"),
        ("RELEASE", "", "NO_SEGMENT", ""),
        ("DEFAULT_SEGMENT", "high", "UNCHANGED", "ann"),
    ],
)
def test_a_record_that_matches_nothing_any_more_follows_its_segment_s_policy(
    office: Office, policy: str, segment: str, segmentation: str, owner: str
) -> None:
    office.apply(*leads(scored("high", 1, "> 5", rules=TO_ANN, sequence_id="one", on_no_match=f"ON_NO_MATCH_{policy}")))
    staff(office)
    arrive(office, 9, 1)
    found = office.record("L1")
    assert (found.segment_id, found.segmentation, office.owner("L1")) == (segment, segmentation, owner)
    assert bool(found.enrollment_id) == bool(segment)
    assert found.owner or found.reason


def test_a_record_goes_to_the_default_segment_when_its_own_says_so(office: Office) -> None:
    high = scored("high", 1, "> 5", rules=TO_ANN, on_no_match="ON_NO_MATCH_DEFAULT_SEGMENT")
    office.apply(*leads(high, everybody("rest", *TO_BOB, assign_on_move=True)))
    staff(office)
    arrive(office, 9, 1)
    assert placed(office) == ("rest", "SEGMENTED", "bob", "ASSIGNED")


def test_the_default_segment_gives_its_records_to_segments_that_accept_moves(office: Office) -> None:
    office.apply(*leads(scored("high", 1, "> 5", rules=TO_ANN, accepts_moves=True, assign_on_move=True), everybody("rest", *TO_BOB)))
    staff(office)
    arrive(office, 1, 9)
    assert placed(office) == ("high", "SEGMENTED", "ann", "ASSIGNED")


def test_a_record_of_a_segment_that_is_no_longer_active_may_move_on(office: Office) -> None:
    office.apply(*leads(scored("old", 1, "> 5"), scored("new", 2, "> 2", accepts_moves=True)))
    arrive(office, 9)
    office.apply(resource(segment=scored("old", 1, "> 5", state="RESOURCE_STATE_PAUSED")))
    arrive(office, 8)
    assert placed(office)[:2] == ("new", "SEGMENTED")


# Owners on a move


@pytest.mark.parametrize(("rules", "owner"), [([listed("r", "ann", "bob")], "ann"), (TO_BOB, "bob")])
def test_a_moved_record_keeps_its_owner_only_if_a_rule_allows_it(office: Office, rules: list[dict[str, object]], owner: str) -> None:
    high = scored("high", 1, "> 5", accepts_moves=True, assign_on_move=True, owner_policy="OWNER_POLICY_KEEP_IF_ELIGIBLE", rules=rules)
    office.apply(*leads(high, everybody("rest", *TO_ANN)))
    staff(office)
    arrive(office, 1, 9)
    assert placed(office) == ("high", "SEGMENTED", owner, "ASSIGNED")
    assert office.record("L1").rule_id.startswith("high/")


def test_a_moved_record_whose_new_rules_find_nobody_loses_its_owner_with_the_reason(office: Office) -> None:
    high = scored("high", 1, "> 5", accepts_moves=True, assign_on_move=True, rules=TO_BOB)
    office.apply(*leads(high, everybody("rest", *TO_ANN)))
    office.hire(a_seller("ann"), a_seller("bob", capacity={"total": 0}))
    arrive(office, 1, 9)
    assert placed(office) == ("high", "SEGMENTED", "", "NO_CAPACITY")
    assert office.record("L1").previous_owner == Owner(OwnerKind.SELLER, "ann")


def test_two_full_sellers_swap_the_records_that_move_to_each_other(office: Office) -> None:
    moves = {"accepts_moves": True, "assign_on_move": True}
    office.apply(*leads(scored("high", 1, "> 5", rules=TO_ANN, **moves), scored("low", 2, "<= 5", rules=TO_BOB, **moves)))
    office.hire(a_seller("ann", capacity={"total": 1}), a_seller("bob", capacity={"total": 1}))
    office.upsert(a_row("L1", {"score": 9}), a_row("L2", {"score": 1}))
    office.work()
    assert office.owners("L1", "L2") == ["ann", "bob"]
    office.upsert(a_row("L1", {"score": 1}), a_row("L2", {"score": 9}))
    office.work()
    assert office.owners("L1", "L2") == ["bob", "ann"]


def test_a_moved_record_that_waits_in_its_new_segment_is_not_assigned(office: Office) -> None:
    high = scored("high", 1, "> 5", accepts_moves=True, assign_on_move=True, on_arrival="ON_ARRIVAL_WAIT", rules=TO_BOB)
    office.apply(*leads(high, a_segment("low", 2, condition="record.score <= 5")))
    staff(office)
    arrive(office, 1, 9)
    assert placed(office) == ("high", "SEGMENTED", "", "WAITING")


# Sequences


@pytest.mark.parametrize(
    ("to", "connection", "sequence"),
    [("one", "SEQUENCE_UNCHANGED", "one"), ("two", "CONNECTED", "two"), ("", "NO_SEQUENCE", ""), ("off", "SEQUENCE_INACTIVE", "")],
)
def test_the_sequence_follows_the_segment(office: Office, to: str, connection: str, sequence: str) -> None:
    off = {"sequence_id": "off", "record_type": "lead", "state": "RESOURCE_STATE_PAUSED", "steps": [{"step_id": "x", "call": {}}]}
    high = scored("high", 1, "> 5", accepts_moves=True, sequence_id=to)
    office.apply(resource(sequence=off), *leads(high, everybody("rest", sequence_id="one")))
    arrive(office, 1)
    before = office.record("L1")
    arrive(office, 9)
    after = office.record("L1")
    assert (after.connection, after.sequence_id) == (connection, sequence)
    assert (after.enrollment_id == before.enrollment_id) == (to == "one")


# Quiet imports


def test_a_quiet_import_of_owned_records_segments_and_counts_them_and_nothing_else(office: Office) -> None:
    office.apply(*leads(everybody(sequence_id="one")))
    staff(office)
    office.upsert(*(a_row(f"L{i}", {"score": i}, owner=seller_owner("ann")) for i in range(30)), quiet=True)
    office.work()
    assert {(r.segment_id, r.connection, r.enrollment_id) for r in office.records()} == {("all", "SKIPPED", "")}
    assert [(load.seller_id, load.segment_id, load.effort) for load in office.loads()] == [("ann", "all", 30)]
    assert office.notices("ann") == []
    assert office.read(lambda tx: tx.sellers.turns(office.workspace)) == []


def test_a_quiet_import_without_owner_waits_for_a_run(office: Office) -> None:
    office.apply(*leads(everybody()))
    staff(office)
    office.lead("L1", quiet=True)
    office.work()
    assert placed(office) == ("all", "SEGMENTED", "", "WAITING")
    office.run()
    assert office.owner("L1")


# What is not segmented again


def test_a_field_that_only_rules_read_lets_an_unassigned_record_be_tried_again_in_its_segment(office: Office) -> None:
    rule = {"rule_id": "here", "target": {"matching": "seller.country == record.country"}}
    office.apply(*leads(scored("high", 1, "> 5", rules=[rule])))
    office.hire(a_seller("ann", attributes={"country": "DE"}))
    office.lead("L1", score=9, country="FR")
    office.work()
    assert placed(office) == ("high", "SEGMENTED", "", "NO_SELLER_MATCHED")
    office.lead("L1", country="DE")
    office.work()
    assert placed(office) == ("high", "SEGMENTED", "ann", "ASSIGNED")


def test_a_field_that_nothing_reads_leaves_the_record_alone(office: Office) -> None:
    office.apply(*leads(scored("high", 1, "> 5", rules=TO_ANN)))
    staff(office)
    arrive(office, 9)
    before = office.record("L1")
    office.lead("L1", name="other")
    office.work()
    assert office.record("L1").attempts == before.attempts
    newest, first = office.read(lambda tx: tx.decisions.of_record(office.workspace, "L1", None, 10))
    assert (newest.cause["kind"], newest.reason) == ("UPDATED", say("nothing_watched", fields="name"))
    assert first.cause["kind"] == "CREATED"


def test_a_run_segments_what_is_in_no_segment_and_tells_nothing_where_that_stays_so(office: Office) -> None:
    office.apply(*leads(scored("high", 1, "> 5", rules=TO_ANN)))
    staff(office)
    office.upsert(a_row("L1", {"score": 1}), a_row("L2", {"country": "DE"}))
    office.work()
    unmatched = office.record("L2")
    office.apply(*leads(scored("high", 1, "> 5"), scored("low", 2, "<= 5", rules=TO_BOB)))
    office.run()
    assert placed(office) == ("low", "SEGMENTED", "bob", "ASSIGNED")
    assert office.record("L2") == unmatched


def test_an_event_does_not_assign_what_comes_into_a_segment_that_waits(office: Office) -> None:
    office.apply(*leads(scored("high", 1, "> 5"), settings={}))
    staff(office)
    arrive(office, 1)
    office.apply(*leads(scored("low", 2, "<= 5", rules=TO_BOB, on_arrival="ON_ARRIVAL_WAIT"), settings={}))
    office.work()
    assert placed(office) == ("low", "SEGMENTED", "", "WAITING")


def test_a_run_that_segments_again_moves_what_may_move_and_leaves_the_rest_untouched(office: Office) -> None:
    office.apply(*leads(scored("old", 2, "> 0", rules=TO_ANN)))
    staff(office)
    office.upsert(a_row("L1", {"score": 1}), a_row("L9", {"score": 9}))
    office.work()
    stays = office.record("L1")
    office.apply(*leads(scored("high", 1, "> 5", accepts_moves=True, assign_on_move=True, rules=TO_BOB)))
    office.run(owned_but_ineligible=True, resegment=True)
    assert placed(office, "L9") == ("high", "SEGMENTED", "bob", "ASSIGNED")
    assert office.record("L1") == stays
