"""What becomes of a record whose fields say something else than its segment: owner, segment, statuses, and who is told."""

import pytest

from reallot.clients import Record, Seller
from reallot.v1 import record_pb2

from world import Make, World, a_lead, a_rule, a_segment, kinds, lead_type, quiet_settings


def placed(world: World, *, big: dict[str, object], small: dict[str, object]) -> int:
    """Lead l is Carl's in the segment small; the big ones belong to Ana. Return the last event's number."""
    to_ana = a_rule("ana", target={"sellers": {"seller_ids": ["ana"]}})
    world.apply(
        settings=quiet_settings(),
        record_types=[lead_type()],
        segments=[
            a_segment("big", to_ana, condition="record.revenue >= 10.0", priority=1, **big),
            a_segment("small", condition="record.revenue < 10.0", priority=2, **small),
            a_segment("others"),
        ],
    )
    world.sellers(Seller("ana"), Seller("carl"))
    world.write(Record("l", "lead", {"revenue": 1.0}, owner="carl"))
    return world.events()[-1].number


def state(world: World) -> tuple[str, str, str, str]:
    lead = world.record("l")
    segmentation = record_pb2.SegmentationStatus.Name(lead.segmentation.status).removeprefix("SEGMENTATION_STATUS_")
    return lead.segment_id, segmentation, world.owner("l"), world.status("l")


def told(world: World, last: int) -> tuple[list[str], list[str], list[str]]:
    """Return the kinds of what the CRM, Carl and Ana are told."""
    sellers = [kinds([n.event for n in world.notices(s) if n.number > last]) for s in ("carl", "ana")]
    return kinds([e for e in world.events() if e.number > last]), sellers[0], sellers[1]


MOVES = {
    # The second change is that of the segmentation status.
    "not accepted": ({}, ("small", "MOVE_NOT_ALLOWED", "carl"), ["CHANGED", "CHANGED"], [], []),
    "owner stays": (
        {"accepts_moves": True},
        ("big", "SEGMENTED", "carl"),
        ["CHANGED", "RESEGMENTED"],
        ["RESEGMENTED"],
        [],
    ),
    "rules run": (
        {"accepts_moves": True, "assign_on_move": True},
        ("big", "SEGMENTED", "ana"),
        ["CHANGED", "RESEGMENTED"],
        ["RESEGMENTED"],
        ["RESEGMENTED"],
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_a_move_needs_leave_and_touches_the_owner_only_if_asked(world: Make, name: str) -> None:
    big, wanted, crm, carl, ana = MOVES[name]
    here = world()
    last = placed(here, big=big, small={})
    here.write(a_lead("l", revenue=50.0))
    assert state(here)[:3] == wanted
    assert told(here, last) == (crm, carl, ana)
    assert here.record("l").segmentation.previous_segment_id == ("" if wanted[0] == "small" else "small")


def test_both_owners_are_told_what_the_watched_fields_were_and_are(world: Make) -> None:
    here = world()
    here.apply(settings=quiet_settings())
    last = placed(here, big={"accepts_moves": True, "assign_on_move": True}, small={})
    # Several changes before it is looked at: what it was at the first counts.
    here.client.records.upsert([a_lead("l", revenue=5.0, stage="new"), a_lead("l", revenue=50.0, kind="hot")])
    here.settle()
    for seller in ("carl", "ana"):
        (notice,) = [n.event for n in here.notices(seller) if n.number > last]
        fields = [{name: value.decimal or value.text for name, value in state.fields.items()} for state in (notice.before, notice.after)]
        assert fields[1] == {"revenue": 50.0, "stage": "new", "kind": "hot"}
        assert {name: value for name, value in fields[0].items() if value} == {"revenue": 1.0}
        assert " because kind and revenue and stage changed" in notice.sentence.text


NO_MATCH = {
    "ON_NO_MATCH_STAY": ("small", "UNCHANGED", "carl"),
    "ON_NO_MATCH_DEFAULT_SEGMENT": ("others", "SEGMENTED", "carl"),
    "ON_NO_MATCH_RELEASE": ("", "NO_SEGMENT", ""),
}


@pytest.mark.parametrize("policy", NO_MATCH)
def test_a_record_that_matches_nothing_any_more_follows_its_segment(world: Make, policy: str) -> None:
    here = world()
    placed(here, big={}, small={"on_no_match": policy})
    here.client.records.upsert([Record("l", "lead", {"revenue": None})])
    here.settle()
    assert state(here)[:3] == NO_MATCH[policy]


def test_what_was_released_stays_out_however_often_it_is_looked_at(world: Make) -> None:
    here = world()
    placed(here, big={}, small={"on_no_match": "ON_NO_MATCH_RELEASE"})
    here.client.records.upsert([Record("l", "lead", {"revenue": None})])
    here.settle()
    last = here.events()[-1].number
    # Looked at again: by a write that changes nothing of it, by a run, by reopening.
    here.client.records.upsert([Record("l", "lead", {"revenue": 5.0}), Record("l", "lead", {"revenue": None})])
    here.settle()
    here.run(selection={"record_type": "lead", "resegment": True})
    assert (state(here), told(here, last)) == (("", "NO_SEGMENT", "", "NO_RULE_IN_SEGMENT"), (["CHANGED"], [], []))
    for active in (False, True):
        here.write(Record("l", "lead", active=active))
    assert state(here)[:2] == ("", "NO_SEGMENT")
    here.write(a_lead("l", revenue=50.0))
    assert state(here) == ("big", "SEGMENTED", "ana", "ASSIGNED")


KEEPS = {
    # Rules of the segment that it moves to, what becomes of Carl meanwhile -> owner, and whether Ana hears of it.
    "a rule knows the owner": ({}, {}, "carl"),
    "no rule knows the owner": ({"target": {"sellers": {"seller_ids": ["ana"]}}}, {}, "ana"),
    "the owner takes nothing more": ({}, {"assignable": False}, "ana"),
    "the owner's role may not own": ({}, {"roles_ok": False}, "ana"),
    "the owner is full": ({}, {"capacity": 1}, "carl"),
    "the owner is full over there": ({}, {"capacity_by_segment": {"big": 0}}, "ana"),
    "over there nobody counts": ({"use_capacity": False}, {"capacity_by_segment": {"big": 0}}, "carl"),
}


@pytest.mark.parametrize("name", KEEPS)
def test_the_owner_stays_if_a_rule_allows_it(world: Make, name: str) -> None:
    rule, carl, owner = KEEPS[name]
    here = world()
    here.apply(
        settings=quiet_settings(),
        record_types=[lead_type()],
        segments=[
            a_segment(
                "big",
                a_rule("first", condition='record.stage == "never"'),
                a_rule("second", **rule),
                condition="record.revenue >= 10.0",
                accepts_moves=True,
                assign_on_move=True,
                owner_policy="OWNER_POLICY_KEEP_IF_ELIGIBLE",
                priority=1,
            ),
            a_segment("small"),
        ],
    )
    here.sellers(Seller("ana"), Seller("carl"))
    here.write(Record("l", "lead", {"revenue": 1.0}, owner="carl"))
    here.sellers(Seller("carl", **carl))
    last = here.events()[-1].number
    here.write(a_lead("l", revenue=50.0))
    assert state(here)[2:] == (owner, "ASSIGNED")
    assert here.record("l").assignment.rule_id == "big/second"
    assert told(here, last) == (["CHANGED", "RESEGMENTED"], ["RESEGMENTED"], ["RESEGMENTED"] if owner == "ana" else [])


def test_of_several_that_move_an_owner_keeps_what_there_is_room_for(world: Make) -> None:
    here = world()
    moving = {"accepts_moves": True, "assign_on_move": True, "owner_policy": "OWNER_POLICY_KEEP_IF_ELIGIBLE"}
    big = a_segment("big", a_rule(), condition="record.revenue >= 10.0", priority=1, **moving)
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[big, a_segment("small")])
    here.sellers(Seller("ana"), Seller("carl", capacity_by_segment={"big": 2}))
    here.write(*(Record(f"l{n}", "lead", {"revenue": 1.0}, owner="carl") for n in range(3)))
    here.write(*(a_lead(f"l{n}", revenue=50.0) for n in range(3)))
    assert sorted(here.owners("l0", "l1", "l2")) == ["ana", "carl", "carl"]
