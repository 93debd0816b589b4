"""What must come out of the road for the cases that the product is judged by, in small."""

from reallot.server.convert.sellers import to_document
from reallot.storage.entities import EnrollmentChange, Owner, OwnerKind, Transition, Turn
from support.api import a_row, a_segment, office_hours, resource, seller_owner
from support.office import HOUR_US, Office, everybody, leads, listed
from support.rows import a_record, a_seller, commit, create
from support.spoken import english


def three_sellers(office: Office) -> None:
    office.hire(a_seller("miriam"), a_seller("sanjay"), a_seller("susana"), since=(1, 2, 3))


def one_order(office: Office) -> list[str]:
    """Three segments with a rule each; return the leads that fall into them."""
    segments = [a_segment(f"s{i}", i, condition=f"record.score == {i}", rules=[{"rule_id": f"rule{i}"}]) for i in (1, 2, 3)]
    office.apply(*leads(*segments))
    three_sellers(office)
    return ["L1", "L2", "L3", "L4"]


def test_round_robin_keeps_one_order_for_the_workspace_one_by_one(office: Office) -> None:
    ids = one_order(office)
    for record_id, score in zip(ids, (1, 2, 3, 1), strict=True):
        office.lead(record_id, score=score)
        office.work()
    assert office.owners(*ids) == ["miriam", "sanjay", "susana", "miriam"]


def test_round_robin_keeps_one_order_for_the_workspace_in_one_batch(office: Office) -> None:
    ids = one_order(office)
    office.upsert(*(a_row(i, {"score": s}) for i, s in zip(ids, (1, 2, 3, 1), strict=True)))
    office.work()
    assert office.owners(*ids) == ["miriam", "sanjay", "susana", "miriam"]


def test_turns_of_types_without_rules_do_not_count(office: Office) -> None:
    one_order(office)
    office.write(lambda tx: tx.sellers.set_turns(office.workspace, [Turn("miriam", "opportunity", 9, 9)]))
    office.lead("L1", score=1)
    office.work()
    assert office.owner("L1") == "miriam"


def test_round_robin_passes_over_full_sellers(office: Office) -> None:
    office.apply(*leads(everybody()))
    total = {"sanjay": 0, "susana": 4, "david": 1, "miriam": -2}
    office.hire(*(a_seller(name, capacity={"total": max(free, 0)}) for name, free in total.items()), since=(3, 2, 4, 1))
    create(office.db, office.workspace, a_record("m1", seller="miriam"), a_record("m2", seller="miriam"))
    office.lead("L1")
    office.work()
    assert office.owner("L1") == "susana"


def test_nobody_free_leaves_the_lead_unassigned_with_no_capacity(office: Office) -> None:
    office.apply(*leads(everybody()))
    office.hire(a_seller("sanjay", capacity={"total": 0}), a_seller("miriam", capacity={"total": 0}))
    office.lead("L1")
    office.work()
    found = office.record("L1")
    assert (found.owner, found.assignment, english(found.reason)) == (None, "NO_CAPACITY", "all 2 fitting sellers have no free capacity")


def balanced(office: Office, *, use_capacity: bool, sellers: dict[str, tuple[int, int, int]]) -> None:
    """Sellers by name: days until they are available, free capacity, last turn."""
    rule = {"rule_id": "balance", "policy": "POLICY_LOAD_BALANCING", "available_within": "432000s", "use_capacity": use_capacity}
    office.apply(*leads(everybody("all", rule)))
    for name, (day, free, last) in sellers.items():
        # Today is Monday; somebody who is there in n days starts a little before this hour then.
        hours = office_hours("UTC", days=(1 + day,), start=0 if day == 0 else 420, end=1_440 if day == 0 else 1_020)
        office.hire(a_seller(name, capacity={"total": free}, calendar=to_document(hours)), since=(last,))


def test_load_balancing_turns_to_round_robin_where_nobody_is_available_now(office: Office) -> None:
    free = {"burt": (1, 14, 3), "maya": (1, 20, 2), "vivek": (0, 0, 1), "maria": (2, 10, 4), "sal": (0, 0, 5)}
    balanced(office, use_capacity=True, sellers=free)
    for record_id in ("L1", "L2", "L3"):
        office.lead(record_id)
        office.work()
    assert office.owners("L1", "L2", "L3") == ["maya", "burt", "maya"]


def test_load_balancing_without_the_capacity_option_takes_who_is_there_and_least_loaded(office: Office) -> None:
    free = {"burt": (1, 14, 3), "maya": (1, 20, 2), "vivek": (0, 5, 1), "maria": (2, 10, 4), "sal": (0, 2, 5)}
    balanced(office, use_capacity=False, sellers=free)
    office.lead("L1")
    office.work()
    assert office.owner("L1") == "vivek"


def contoso(office: Office, *, assign_on_move: bool) -> None:
    enterprise = a_segment(
        "enterprise", 1, display_name="Enterprise", condition="record.revenue >= 1000000.0", sequence_id="two", accepts_moves=True,
        assign_on_move=assign_on_move, rules=[{"rule_id": "r", "target": {"matching": "seller.skills.enterprise >= 1"}}],
    )  # fmt: skip
    smb = a_segment("smb", 2, display_name="SMB", condition="record.revenue < 1000000.0", sequence_id="one", rules=[listed("r", "carl")])
    office.apply(*leads(enterprise, smb))
    skilled = {"skills": {"enterprise": 5}}
    office.hire(a_seller("ana", **skilled), a_seller("ben", **skilled), a_seller("carl"), since=(1, 2, 3))
    office.lead("contoso", revenue=200_000.0, name="Contoso")
    office.work()
    commit(office.db, office.workspace, _step_two(office))
    office.lead("contoso", revenue=5_000_000.0)
    office.work()


def _step_two(office: Office) -> Transition:
    before = office.record("contoso")
    assert (before.segment_id, office.owner("contoso"), before.sequence_id, before.step) == ("smb", "carl", "one", 1)
    return Transition(before, before, enrollment=EnrollmentChange(move_to_step=2))


def test_a_change_moves_the_record_to_segment_seller_and_sequence(office: Office) -> None:
    contoso(office, assign_on_move=True)
    found = office.record("contoso")
    assert (found.segment_id, found.previous_segment_id) == ("enterprise", "smb")
    assert (found.owner, found.previous_owner) == (Owner(OwnerKind.SELLER, "ana"), Owner(OwnerKind.SELLER, "carl"))
    assert (found.assignment, found.sequence_id, found.step, found.connection) == ("ASSIGNED", "two", 1, "CONNECTED")
    passages = {(e.sequence_id, e.state, e.end_reason, e.step) for e in office.enrollments("contoso")}
    assert passages == {("one", "ENDED", "RESEGMENTED", 2), ("two", "ACTIVE", "", 1)}


def test_a_move_tells_old_and_new_owner_once_with_before_after_and_why(office: Office) -> None:
    contoso(office, assign_on_move=True)
    (moved,) = office.events("contoso", "RESEGMENTED")
    assert (moved.before["owner"], moved.after["owner"]) == ({"seller_id": "carl"}, {"seller_id": "ana"})
    assert (moved.before["enrollment"]["step"], moved.after["enrollment"]["step"]) == (2, 1)
    assert english(moved.sentence) == (
        "Contoso moved from SMB to Enterprise because revenue changed; Ana takes over from Carl; the sequence two starts."
    )
    assert [[n.kind for n in office.notices(s)] for s in ("ana", "carl")] == [["RESEGMENTED"], ["ASSIGNED", "RESEGMENTED"]]


def test_without_rules_on_move_the_owner_stays_and_a_run_takes_the_record_once_they_are_switched_on(office: Office) -> None:
    contoso(office, assign_on_move=False)
    found = office.record("contoso")
    assert (found.segment_id, office.owner("contoso"), found.assignment) == ("enterprise", "carl", "RULES_NOT_RUN_ON_MOVE")
    assert found.sequence_id == "two"
    assert office.run().counts.get("considered", 0) == 0
    stored = office.config.find("segment", "enterprise")
    stored.assign_on_move = True
    office.apply(type(resource())(segment=stored))
    office.run()
    assert office.owner("contoso") == "ana"


def test_a_seller_who_is_gone_is_skipped(office: Office) -> None:
    office.apply(*leads(everybody()))
    office.hire(a_seller("u1"), a_seller("u2"), a_seller("u3"))
    for i in range(3):
        office.lead(f"L{i}")
        office.work()
    office.seller("u1", assignable=False)
    office.lead("L3")
    office.work()
    assert office.owners("L0", "L1", "L2", "L3") == ["u1", "u2", "u3", "u2"]


def test_load_balancing_evens_out_what_was_closed(office: Office) -> None:
    office.apply(*leads(everybody("all", {"rule_id": "even", "policy": "POLICY_LOAD_BALANCING"})))
    office.hire(a_seller("a"), a_seller("b"), a_seller("c"))
    office.upsert(*(a_row(f"L{i:02}") for i in range(30)))
    office.work()
    assert sorted(load.records for load in office.loads()) == [10, 10, 10]
    of_a = [r.record_id for r in office.records() if r.owner and r.owner.id == "a"][:5]
    office.upsert(*(a_row(i, active=False) for i in of_a))
    office.upsert(*(a_row(f"N{i}") for i in range(5)))
    office.work()
    assert sorted(load.records for load in office.loads()) == [10, 10, 10]


def test_a_run_assigns_up_to_its_limit_the_oldest_first(office: Office) -> None:
    office.apply(*leads(everybody(on_arrival="ON_ARRIVAL_WAIT")))
    office.hire(a_seller("a"))
    for record_id in ("L3", "L1", "L2"):
        office.lead(record_id)
        office.runner.run(office.clock.set(office.clock.now_us() + HOUR_US))
    office.work()
    run = office.run(limit=2)
    assert (run.counts["assigned"], office.owners("L3", "L1", "L2")) == (2, ["a", "a", ""])
    assert office.record("L2").assignment == "WAITING"


def test_closed_and_owned_records_are_left_alone_by_a_run(office: Office) -> None:
    office.apply(*leads(everybody(on_arrival="ON_ARRIVAL_WAIT")))
    office.hire(a_seller("a"), a_seller("b"))
    office.upsert(a_row("open"), a_row("closed", active=False), a_row("owned", owner=seller_owner("b")))
    office.work()
    office.run()
    assert office.owners("open", "closed", "owned") == ["a", "", "b"]


def test_a_run_that_finds_nobody_available_assigns_nothing(office: Office) -> None:
    office.apply(*leads(everybody("all", {"rule_id": "now", "available_within": "0s"}, on_arrival="ON_ARRIVAL_WAIT")))
    office.hire(a_seller("a", calendar=to_document(office_hours("UTC", days=(2,)))))
    office.lead("L1")
    office.work()
    run = office.run()
    assert (run.state, run.counts.get("assigned", 0), office.record("L1").assignment) == ("SUCCEEDED", 0, "NO_AVAILABILITY")
