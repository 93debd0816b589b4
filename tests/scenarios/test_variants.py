"""What follows from the rules of segments and sequences for a lead that moves: each variant checked at every part that it touches."""

from typing import Any

import pytest

from reallot.clients import ReallotError, Record, Seller
from reallot.v1 import config_pb2, config_service_pb2, event_pb2, record_pb2, record_service_pb2
from reallot.v1 import sequence_service_pb2 as pb

from world import Make, World, a_lead, a_rule, a_segment, kinds, lead_type, quiet_settings

CALL = {"call": {"subject": "Introduce yourself"}}


def a_sequence(sequence_id: str, *steps: dict[str, Any], **parts: Any) -> dict[str, Any]:
    made = [{"step_id": f"s{n}", **step} for n, step in enumerate(steps or (CALL, CALL), 1)]
    return {"sequence_id": sequence_id, "record_type": "lead", "steps": made, **parts}


def to(seller: str) -> dict[str, Any]:
    return a_rule(seller, target={"sellers": {"seller_ids": [seller]}})


def setting(value: float) -> dict[str, Any]:
    return {"update_field": {"field_id": "revenue", "value": {"decimal": value}}}


def an_office(here: World, *sequences: dict[str, Any], big: dict[str, Any] | None = None, small: dict[str, Any] | None = None) -> World:
    """Lead l is Carl's, in the segment small, at step 1 of "nurture"; the big ones are Ana's, with "outreach"."""
    here.apply(
        settings=quiet_settings(),
        record_types=[lead_type()],
        sequences=list(sequences or (a_sequence("nurture"), a_sequence("outreach"))),
        segments=[
            a_segment("big", to("ana"), **{"condition": "record.revenue >= 10.0", "priority": 1, "sequence_id": "outreach", **(big or {})}),
            a_segment("small", to("carl"), condition="record.revenue < 10.0", priority=2, **{"sequence_id": "nurture", **(small or {})}),
            a_segment("rest"),
        ],
    )
    here.sellers(Seller("ana"), Seller("carl"), Seller("dora"))
    here.write(a_lead("l", revenue=1.0))
    return here


def stands(here: World, record_id: str = "l") -> tuple[str, str, tuple[str, int], str]:
    """Return segment, owner, sequence with step, and how it is connected."""
    record = here.record(record_id)
    enrollment = record.enrollment
    status = record_pb2.SequenceConnectionStatus.Name(enrollment.status).removeprefix("SEQUENCE_CONNECTION_STATUS_")
    place = (enrollment.sequence_id, enrollment.step) if enrollment.enrollment_id else ("", 0)
    return record.segment_id, here.owner(record_id), place, status


def complete(here: World, step: int, record_id: str = "l") -> None:
    here.client.stubs.sequences.CompleteStep(pb.CompleteStepRequest(record_id=record_id, step=step))
    here.settle()


def log(here: World) -> list[str]:
    request = record_service_pb2.ListDecisionsRequest(record_id="l")
    return [decision.reason for decision in here.client.stubs.records.ListDecisions(request).decisions]


MOVES = {"accepts_moves": True}
RUNS = {"accepts_moves": True, "assign_on_move": True}
INACTIVE = (a_sequence("nurture"), a_sequence("outreach", state="RESOURCE_STATE_INACTIVE"))
VARIANTS = {
    # What the segment big is like, the sequences -> how the lead stands after its first step and a revenue of 50.
    "another sequence": (RUNS, (), ("big", "ana", ("outreach", 1), "CONNECTED")),
    "the same sequence": (MOVES | {"sequence_id": "nurture"}, (), ("big", "carl", ("nurture", 2), "SEQUENCE_UNCHANGED")),
    "no sequence": (MOVES | {"sequence_id": ""}, (), ("big", "carl", ("", 0), "NO_SEQUENCE")),
    "an inactive sequence": (MOVES, INACTIVE, ("big", "carl", ("", 0), "SEQUENCE_INACTIVE")),
    "no moves": ({}, (), ("small", "carl", ("nurture", 2), "CONNECTED")),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_sequence_follows_the_segment(world: Make, name: str) -> None:
    big, sequences, wanted = VARIANTS[name]
    here = an_office(world(), *sequences, big=big)
    complete(here, 1)
    here.write(a_lead("l", revenue=50.0))
    assert stands(here) == wanted
    ended = here.client.stubs.sequences.ListEnrollments(pb.ListEnrollmentsRequest(record_id="l")).enrollments
    moved_on = wanted[2][0] != "nurture"
    assert [(e.sequence_id, e.step, e.end_reason) for e in ended if e.end_reason] == [("nurture", 2, "RESEGMENTED")] * moved_on


def test_there_and_back_again_everything_follows(world: Make) -> None:
    here = an_office(world(), big=RUNS, small=RUNS)
    last = here.events()[-1].number
    here.write(a_lead("l", revenue=50.0))
    here.write(a_lead("l", revenue=2.0))
    assert stands(here) == ("small", "carl", ("nurture", 1), "CONNECTED")
    lead = here.record("l")
    assert (lead.segmentation.previous_segment_id, lead.assignment.previous_owner.seller_id) == ("big", "ana")
    told = [e for e in here.events() if e.number > last]
    assert kinds(told) == ["CHANGED", "RESEGMENTED"] * 2
    assert all(e.cause.kind == event_pb2.CAUSE_KIND_UPDATED and list(e.cause.fields) == ["revenue"] for e in told)
    for seller in ("ana", "carl"):
        notices = [n.event for n in here.notices(seller) if n.number > last]
        assert [(e.before.owner.seller_id, e.after.owner.seller_id) for e in notices] == [("carl", "ana"), ("ana", "carl")]
        assert [(e.before.fields["revenue"].decimal, e.after.fields["revenue"].decimal) for e in notices] == [(1.0, 50.0), (50.0, 2.0)]


def test_a_step_that_sets_a_field_moves_the_record_and_circles_are_broken(world: Make) -> None:
    here = an_office(world(), a_sequence("nurture", CALL, setting(99.0), CALL), a_sequence("outreach"), big=RUNS)
    complete(here, 1)
    assert stands(here) == ("big", "ana", ("outreach", 1), "CONNECTED")
    round_and_round = an_office(
        world(), a_sequence("nurture", setting(99.0), CALL), a_sequence("outreach", setting(1.0), CALL), big=MOVES, small=MOVES
    )
    assert stands(round_and_round)[2] == ("", 0)
    assert any("circles" in reason for reason in log(round_and_round)), log(round_and_round)


def test_edits_of_a_segment_touch_nobody_and_one_that_takes_no_part_keeps_its_records(world: Make) -> None:
    here = an_office(world(), big=MOVES)
    last = here.events()[-1].number
    here.apply(segments=[a_segment("big", condition="record.revenue >= 0.5", priority=1, sequence_id="outreach", **MOVES)])
    here.settle()
    assert (stands(here)[:3], [e for e in here.events() if e.number > last]) == (("small", "carl", ("nurture", 1)), [])
    paused = a_segment("small", condition="record.revenue < 10.0", priority=2, sequence_id="nurture", state="RESOURCE_STATE_PAUSED")
    here.apply(segments=[a_segment("big", condition="record.revenue >= 10.0", priority=1, **MOVES), paused])
    here.write(a_lead("n", revenue=1.0))
    assert (here.record("n").segment_id, stands(here)[:3]) == ("rest", ("small", "carl", ("nurture", 1)))
    here.client.stubs.config.DeleteConfig(config_service_pb2.DeleteConfigRequest(kind=config_pb2.CONFIG_KIND_SEGMENT, id="small"))
    here.run(selection={"record_type": "lead", "resegment": True})
    assert stands(here)[:2] == ("rest", "carl")


def test_what_changes_while_closed_or_paused_counts_once_it_goes_on(world: Make) -> None:
    here = an_office(world(), big=RUNS)
    here.write(Record("l", "lead", active=False))
    assert here.write(a_lead("l", revenue=50.0))[0].fired == ["implied:revenue"]
    assert (stands(here)[0], log(here)[0]) == ("small", "the record is not active: it is not looked at again")
    here.write(Record("l", "lead", active=True))
    assert stands(here) == ("big", "ana", ("outreach", 1), "CONNECTED")
    here.apply(settings=quiet_settings(paused=True))
    here.write(a_lead("l", revenue=2.0), a_lead("m", revenue=60.0))
    assert (stands(here)[0], here.record("l").pending, here.record("m").pending) == ("big", True, True)
    here.apply(settings=quiet_settings())
    here.settle()
    assert (stands(here)[0], stands(here, "m")) == ("big", ("big", "ana", ("outreach", 1), "CONNECTED"))


def test_an_open_step_stays_with_whom_it_was_and_the_next_goes_to_the_new_owner(world: Make) -> None:
    here = an_office(world())
    here.give("dora", "l")

    def open_of(seller: str) -> int:
        return len(here.client.stubs.sequences.ListSteps(pb.ListStepsRequest(seller_id=seller)).steps)

    assert (open_of("carl"), open_of("dora")) == (1, 0)
    with pytest.raises(ReallotError, match="step 2"):
        complete(here, 2)
    complete(here, 1)
    assert (open_of("carl"), open_of("dora")) == (0, 1)
