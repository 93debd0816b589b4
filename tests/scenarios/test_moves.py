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
