"""Whom a rule prefers, never chooses, keeps together, and what it no longer asks for after a while."""

from typing import Any

import pytest

from reallot.clients import ReallotError, Record, Seller
from reallot.v1 import run_pb2

from world import Make, World, a_lead, a_rule, a_segment, lead_type, quiet_settings

SELLER_FIELDS = [{"field_id": "region", "type": "FIELD_TYPE_TEXT"}, {"field_id": "quality", "type": "FIELD_TYPE_DECIMAL"}]


def a_shop(world: Make, *rules: dict[str, Any], **parts: Any) -> World:
    here = world()
    here.apply(
        settings=quiet_settings(seller_fields=SELLER_FIELDS), record_types=[lead_type()], segments=[a_segment("leads", *rules, **parts)]
    )
    return here


def test_best_fit_gives_each_record_to_whom_it_suits_best_in_sum(world: Make) -> None:
    rule = a_rule("fit", "BEST_FIT", score="seller.quality * (seller.region == record.kind ? 2.0 : 1.0)")
    here = a_shop(world, rule, on_arrival="ON_ARRIVAL_WAIT")
    here.sellers(
        Seller("ana", capacity=1, attributes={"region": "north", "quality": 10.0}),
        Seller("ben", capacity=1, attributes={"region": "south", "quality": 9.0}),
    )
    # One by one, the older record would take ana (10 > 9), and the younger be left with ben (9): 19 instead of 29 points.
    here.write(a_lead("a", "2026-03-01T08:00", kind="west"), a_lead("b", "2026-03-02T08:00", kind="north"))
    run = here.run()
    assert here.owners("a", "b") == ["ben", "ana"]
    assert [level.level_id for level in run.levels][-1] == "fit"
    assert run.termination.reason == run_pb2.TERMINATION_REASON_OPTIMAL


def test_a_seller_without_the_scored_value_comes_last(world: Make) -> None:
    here = a_shop(world, a_rule("fit", "BEST_FIT", score="seller.quality"))
    here.sellers(Seller("ana"), Seller("ben", attributes={"quality": -5.0}))
    here.write(a_lead("a"))
    assert here.owner("a") == "ben"


def test_preferred_sellers_come_before_better_scores_but_not_before_coverage(world: Make) -> None:
    rule = a_rule("fit", preferred="seller.region == record.kind", score="seller.quality")
    here = a_shop(world, rule)
    here.sellers(
        Seller("ana", capacity=1, attributes={"region": "north", "quality": 0.0}),
        Seller("ben", capacity=5, attributes={"region": "south", "quality": 99.0}),
    )
    for name in "ab":
        here.write(a_lead(name, kind="north"))
    assert here.owners("a", "b") == ["ana", "ben"]


def test_a_conflict_rules_a_seller_out(world: Make) -> None:
    here = a_shop(world, a_rule("any", exclusions={"conflict": "seller.region == record.kind"}))
    here.sellers(Seller("ana", attributes={"region": "north"}), Seller("ben", attributes={"region": "south"}))
    here.write(a_lead("a", kind="south"), a_lead("b", kind="south"))
    assert here.owners("a", "b") == ["ana", "ana"]


def test_a_record_never_goes_back_to_who_had_it(world: Make) -> None:
    here = a_shop(world, a_rule("any", exclusions={"previous_owners": True}))
    here.sellers(Seller("ana"), Seller("ben"), Seller("cid"))
    here.write(a_lead("a"))
    owners = [here.owner("a")]
    for _ in range(2):
        here.release("a")
        here.run()
        owners.append(here.owner("a"))
    assert sorted(owners) == ["ana", "ben", "cid"]
    here.release("a")
    here.run()
    assert (here.owner("a"), here.status("a")) == ("", "NO_SELLER_MATCHED")


@pytest.mark.parametrize("by", ["company", "group_key"])
def test_records_of_one_key_stay_together_as_long_as_there_is_room(world: Make, by: str) -> None:
    here = a_shop(world, a_rule("any", sticky={"by": by}))
    here.sellers(Seller("ana", capacity=3), Seller("ben", capacity=9))

    def of(name: str, key: str) -> Record:
        return Record(name, "lead", {"company": key}, group_key=key)

    for name, key in (("a1", "acme"), ("b1", "bolt"), ("a2", "acme"), ("a3", "acme"), ("a4", "acme")):
        here.write(of(name, key))
    assert here.owners("a1", "b1", "a2", "a3", "a4") == ["ana", "ben", "ana", "ana", "ben"]


def test_where_it_is_required_only_who_has_the_key_will_do(world: Make) -> None:
    here = a_shop(world, a_rule("any", sticky={"by": "company", "required": True}))
    here.sellers(Seller("ana", capacity=1), Seller("ben"))
    here.write(a_lead("a1", company="acme"))
    here.write(a_lead("a2", company="acme"), a_lead("b1", company="bolt"))
    assert here.owners("a1", "a2", "b1") == ["ana", "", "ben"]
    assert here.status("a2") == "NO_CAPACITY"


def test_requirements_fall_away_as_a_record_waits(world: Make) -> None:
    target = {"matching": "seller.region == record.kind && seller.quality >= 5.0"}
    relax = [{"after": "7200s", "drop": "seller.quality >= 5"}, {"after": "3600s", "drop": "seller.region == record.kind"}]
    here = a_shop(world, a_rule("near", target=target, relax=relax))
    here.jump("2026-03-05T08:00")
    here.sellers(
        Seller("far", attributes={"region": "south", "quality": 9.0}, capacity=1),
        Seller("poor", attributes={"region": "east", "quality": 1.0}),
    )
    here.write(a_lead("a", kind="north"), a_lead("b", kind="north"))
    assert here.owners("a", "b") == ["", ""]
    here.advance("2026-03-05T09:00")
    assert here.owners("a", "b") == ["far", ""]
    here.advance("2026-03-05T10:00")
    assert here.owners("a", "b") == ["far", "poor"]


def test_cheapest_change_moves_nobody_who_can_stay(world: Make) -> None:
    moving = {"accepts_moves": True, "assign_on_move": True}
    north = a_segment("north", a_rule("any", "CHEAPEST_CHANGE"), condition='record.kind == "north"', priority=1, **moving)
    here = world()
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[north, a_segment("rest", a_rule("any"))])
    here.sellers(Seller("ana"), Seller("ben"), Seller("cid"))
    here.write(*(a_lead(name) for name in "abc"))
    before = here.owners("a", "b", "c")
    here.write(*(Record(name, "lead", {"kind": "north"}) for name in "abc"))
    assert here.owners("a", "b", "c") == before
    assert [here.record(name).segment_id for name in "abc"] == ["north"] * 3


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"policy": "POLICY_BEST_FIT"}, r"rules\[0\].score.*needs a score"),
        ({"score": "seller.region"}, r"rules\[0\].score.*not a number"),
        ({"score": "seller.speed"}, r"rules\[0\].score.*seller.speed"),
        ({"preferred": "seller.quality"}, r"rules\[0\].preferred.*not true or false"),
        ({"sticky": {"by": "colour"}}, r"rules\[0\].sticky.by.*colour"),
        ({"relax": [{"after": "60s", "drop": "true"}]}, r"rules\[0\].relax.*target"),
        (
            {"target": {"matching": 'seller.region == "a"'}, "relax": [{"after": "60s", "drop": 'seller.region == "b"'}]},
            r"rules\[0\].relax.*no part",
        ),
    ],
)
def test_what_cannot_fit_is_refused(world: Make, parts: dict[str, Any], said: str) -> None:
    with pytest.raises(ReallotError, match=said):
        a_shop(world, {"rule_id": "all", **parts})
