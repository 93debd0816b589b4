"""Sequences: what an enrollment goes by, how it goes on, when steps fall due, and who is told."""

from typing import Any

import pytest

from reallot.clients import Record, Seller
from reallot.clients.errors import FailedPrecondition, InvalidArgument
from reallot.clients.values import timestamp
from reallot.v1 import config_pb2, config_service_pb2, event_pb2, record_pb2, record_service_pb2, seller_pb2, seller_service_pb2
from reallot.v1 import sequence_service_pb2 as pb

from world import Make, World, a_lead, a_rule, a_segment, at, kinds, lead_type, quiet_settings

CALL = {"call": {"subject": "Introduce yourself"}}


def steps(*made: dict[str, Any]) -> list[dict[str, Any]]:
    """Return steps whose ids are s1, s2, … unless they say otherwise."""
    return [{"step_id": f"s{number}", **step} for number, step in enumerate(made, 1)]


def a_sequence(*made: dict[str, Any], sequence_id: str = "one", **parts: Any) -> dict[str, Any]:
    return {"sequence_id": sequence_id, "record_type": "lead", "steps": steps(*made), **parts}


def wait(duration: str, **parts: Any) -> dict[str, Any]:
    return {"wait": {"duration": duration, **parts}}


def started(world: World, *sequences: dict[str, Any], segments: tuple[dict[str, Any], ...] = (), owner: str = "ann") -> None:
    """Lead l is Ann's, who works Mon-Fri 9 to 17, and joins the sequence `one`; Bob is always there. Now is a Thursday, 11:20."""
    default = a_segment("leads", sequence_id="one")
    world.apply(settings=quiet_settings(), record_types=[lead_type()], sequences=list(sequences), segments=[*segments, default])
    world.sellers(Seller("ann", hours="Mon-Fri 09:00-17:00", zone="UTC"), Seller("bob"))
    world.write(Record("l", "lead", {"revenue": 1.0}, owner=owner))


def present(world: World, record_id: str = "l") -> tuple[str, int]:
    """Return sequence and step of a record; ("", 0) without an enrollment."""
    enrollment = world.record(record_id).enrollment
    return (enrollment.sequence_id, enrollment.step) if enrollment.enrollment_id else ("", 0)


def enrollments(world: World, record_id: str = "l") -> list[pb.Enrollment]:
    """Return the enrollments of a record, the oldest first."""
    found = world.client.stubs.sequences.ListEnrollments(pb.ListEnrollmentsRequest(record_id=record_id)).enrollments
    return sorted(found, key=lambda e: (e.start_time.ToMicroseconds(), int(e.enrollment_id.rpartition("/")[2])))


def ended(world: World, record_id: str = "l") -> list[tuple[str, str, int]]:
    """Return sequence, reason and phase of the enrollments that ended."""
    return [(e.sequence_id, e.end_reason, e.phase) for e in enrollments(world, record_id) if e.end_reason]


def open_steps(world: World, **wanted: Any) -> list[pb.OpenStep]:
    return list(world.client.stubs.sequences.ListSteps(pb.ListStepsRequest(**wanted)).steps)


def complete(world: World, step: int, outcome: str = "", **more: Any) -> None:
    world.client.stubs.sequences.CompleteStep(pb.CompleteStepRequest(record_id="l", step=step, outcome=outcome, **more))
    world.settle()


def skip(world: World, step: int, **more: Any) -> None:
    world.client.stubs.sequences.SkipStep(pb.SkipStepRequest(record_id="l", step=step, **more))
    world.settle()


def told(world: World, seller: str) -> list[tuple[str, int]]:
    """Return kind and due step of a seller's notices about steps."""
    return [(kinds([n.event])[0], n.event.due_step.step) for n in world.notices(seller) if n.event.HasField("due_step")]


def day(text: str) -> str:
    return f"2026-03-{text}"


# Versions and endings


def test_an_enrollment_runs_on_the_version_it_started_on(world: Make) -> None:
    here = world()
    started(here, a_sequence(CALL, CALL, exit_on_outcomes=["no"]))
    # The new version is shorter, ends for another outcome, and what was step 1 is another step.
    here.apply(sequences=[a_sequence({"email": {"template": "t"}, "step_id": "mail"}, exit_on_outcomes=["yes"])])
    here.write(Record("m", "lead", {}, owner="bob"))
    complete(here, 1, "yes")
    assert present(here) == ("one", 2)
    versions = {e.record_id: e.sequence_version for e in (enrollments(here)[0], enrollments(here, "m")[0])}
    assert versions == {"l": 1, "m": 2}
    listed = {s.record_id: (s.step_id, s.kind, s.sequence_version, s.seller_id) for s in open_steps(here)}
    assert listed == {"l": ("s2", "call", 1, "ann"), "m": ("mail", "email", 2, "bob")}
    # Whoever joins no more goes on all the same, and completes what there is.
    here.apply(sequences=[a_sequence(CALL, state="RESOURCE_STATE_PAUSED")])
    complete(here, 2, "no")
    assert ended(here) == [("one", "EXIT_OUTCOME", pb.ENROLLMENT_PHASE_ENDED)]


def test_a_sequence_that_comes_back_is_not_taken_for_the_old_one(world: Make) -> None:
    here = world()
    started(here, a_sequence(CALL))
    with pytest.raises(FailedPrecondition, match="segment leads"):
        here.client.stubs.config.DeleteConfig(_deletion("one"))
    skip(here, 1)
    assert ended(here) == [("one", "COMPLETED", pb.ENROLLMENT_PHASE_COMPLETED)]
    here.apply(segments=[a_segment("leads")])
    here.client.stubs.config.DeleteConfig(_deletion("one"))
    here.apply(sequences=[a_sequence(CALL, CALL)], segments=[a_segment("leads", sequence_id="one")])
    here.write(Record("m", "lead", {}, owner="bob"))
    assert enrollments(here, "m")[0].sequence_version == 2


def _deletion(sequence_id: str) -> config_service_pb2.DeleteConfigRequest:
    return config_service_pb2.DeleteConfigRequest(kind=config_pb2.CONFIG_KIND_SEQUENCE, id=sequence_id)


def test_the_exit_ends_it_once_for_all_also_where_the_same_change_moves_the_record(world: Make) -> None:
    here = world()
    big = a_segment("big", condition="record.revenue >= 10.0", priority=1, accepts_moves=True, sequence_id="one")
    started(here, a_sequence(CALL, CALL, exit_when=["record.revenue > 50.0", 'record.stage == "won"']), segments=(big,))
    here.write(a_lead("l", revenue=20.0))
    assert (here.record("l").segment_id, present(here)) == ("big", ("one", 1))
    here.write(Record("m", "lead", {"revenue": 1.0}, owner="bob"))
    last = here.events()[-1].number
    here.write(a_lead("m", revenue=60.0))
    assert kinds([e for e in here.events() if e.number > last]) == ["UNENROLLED", "RESEGMENTED"]
    assert (here.record("m").segment_id, present(here, "m")) == ("big", ("", 0))
    assert ended(here, "m") == [("one", "EXIT_CONDITION", pb.ENROLLMENT_PHASE_ENDED)]
    assert open_steps(here, record_id="m") == []
    # Whoever comes in with the exit holding leaves at once.
    here.write(Record("n", "lead", {"stage": "won"}, owner="bob"))
    assert ended(here, "n") == [("one", "EXIT_CONDITION", pb.ENROLLMENT_PHASE_ENDED)]
    # A segment with another sequence begins that all the same.
    other = a_segment("other", condition='record.kind == "x"', priority=2, accepts_moves=True, sequence_id="two")
    here.apply(sequences=[a_sequence(CALL, sequence_id="two")], segments=[other])
    here.write(a_lead("m", revenue=1.0, kind="x"))
    assert present(here, "m") == ("two", 1)


# Kinds of steps


def test_pauses_are_counted_in_working_time_if_so_wished_and_are_nobodys_work(world: Make) -> None:
    here = world()
    started(here, a_sequence(wait("28800s", working_time=True), CALL, wait("86400s"), {"task": {"subject": "t"}}))
    assert (present(here), open_steps(here)) == (("one", 1), [])
    with pytest.raises(FailedPrecondition, match="done by the server"):
        complete(here, 1)
    # Eight hours of Ann's from Thursday 11:20 on are over on Friday at 11:20.
    here.advance(day("06T11:19"))
    assert present(here) == ("one", 1)
    here.advance(day("06T11:20"))
    assert (present(here), told(here, "ann")) == (("one", 2), [("STEP_DUE", 2)])
    complete(here, 2)
    # A plain day later it is Saturday; the task falls due on Monday.
    here.advance(day("07T12:00"))
    assert (present(here), [s.due_time.ToDatetime().isoformat() for s in open_steps(here)]) == (("one", 4), ["2026-03-09T09:00:00"])
    assert told(here, "ann") == [("STEP_DUE", 2)]
    here.advance(day("09T09:00"))
    assert told(here, "ann") == [("STEP_DUE", 2), ("STEP_DUE", 4)]
    skip(here, 4)
    assert ended(here) == [("one", "COMPLETED", pb.ENROLLMENT_PHASE_COMPLETED)]
    assert [(s.step, event_pb2.StepState.Name(s.state)) for s in enrollments(here)[0].steps] == [
        (1, "STEP_STATE_COMPLETED"),
        (2, "STEP_STATE_COMPLETED"),
        (3, "STEP_STATE_COMPLETED"),
        (4, "STEP_STATE_SKIPPED"),
    ]


def fork(condition: str = "", **parts: Any) -> dict[str, Any]:
    return {"condition": {"condition": condition, **parts}}


def test_forks_go_by_fields_outcomes_and_time_limits(world: Make) -> None:
    here = world()
    started(
        here,
        a_sequence(
            CALL,
            fork(outcome="interested", then_step_id="mail", else_step_id="hot"),
            {**fork('record.stage == "hot"', time_limit="7200s", working_time=True, else_step_id="last"), "step_id": "hot"},
            {"email": {"template": "offer"}, "step_id": "mail"},
            {"task": {"subject": "give up"}, "step_id": "last"},
        ),
    )
    here.write(*(Record(name, "lead", {}, owner="ann") for name in ("m", "n")))
    complete(here, 1, "interested")
    assert present(here) == ("one", 4)
    for name in ("m", "n"):
        here.client.stubs.sequences.CompleteStep(pb.CompleteStepRequest(record_id=name, step=1, outcome="no answer"))
    here.settle()
    assert (present(here, "m"), present(here, "n")) == (("one", 3), ("one", 3))
    here.write(Record("m", "lead", {"stage": "hot"}))
    assert (present(here, "m"), present(here, "n")) == (("one", 4), ("one", 3))
    here.advance(day("05T13:19"))
    assert present(here, "n") == ("one", 3)
    here.advance(day("05T13:20"))
    assert present(here, "n") == ("one", 5)
    # What was a fork is not listed, and waits for nobody.
    assert {(s.record_id, s.step_id) for s in open_steps(here)} == {("l", "mail"), ("m", "mail"), ("n", "last")}
    outcomes = [(s.step, s.outcome) for e in enrollments(here, "m") for s in e.steps]
    assert outcomes == [(1, "no answer"), (2, "else"), (3, "then"), (4, "")]


def test_a_sequence_goes_on_with_another_which_a_move_to_the_first_does_not_begin_anew(world: Make) -> None:
    here = world()
    big = a_segment("big", condition="record.revenue >= 10.0", priority=1, accepts_moves=True, sequence_id="one")
    first = a_sequence(CALL, {"advance": {"sequence_id": "two"}})
    started(here, a_sequence(wait("3600s"), CALL, sequence_id="two"), first, segments=(big,))
    complete(here, 1)
    assert present(here) == ("two", 1)
    assert ended(here) == [("one", "ADVANCED", pb.ENROLLMENT_PHASE_ENDED)]
    here.write(a_lead("l", revenue=20.0))
    assert (here.record("l").segment_id, present(here)) == ("big", ("two", 1))
    here.advance(day("05T12:20"))
    assert (present(here), told(here, "ann")[-1]) == (("two", 2), ("STEP_DUE", 2))
    # A sequence to which another leads stays; one that takes nobody any more is not gone on with.
    with pytest.raises(FailedPrecondition, match="sequence one"):
        here.client.stubs.config.DeleteConfig(_deletion("two"))
    here.apply(sequences=[a_sequence(CALL, sequence_id="two", state="RESOURCE_STATE_INACTIVE")])
    here.write(Record("m", "lead", {}, owner="bob"))
    here.client.stubs.sequences.CompleteStep(pb.CompleteStepRequest(record_id="m", step=1))
    here.settle()
    assert ended(here, "m") == [("one", "SEQUENCE_INACTIVE", pb.ENROLLMENT_PHASE_ENDED)]
    assert here.record("m").enrollment.status == record_pb2.SEQUENCE_CONNECTION_STATUS_SEQUENCE_INACTIVE


def update(field: str, **value: Any) -> dict[str, Any]:
    return {"update_field": {"field_id": field, "value": value}}


def test_an_update_is_a_change_like_any_other(world: Make) -> None:
    here = world()
    hot = a_segment("hot", condition='record.stage == "hot"', priority=1, accepts_moves=True, sequence_id="two")
    started(here, a_sequence(CALL, update("stage", text="hot"), CALL), a_sequence(CALL, sequence_id="two"), segments=(hot,))
    last = here.events()[-1].number
    complete(here, 1, "interested")
    lead = here.record("l")
    assert (lead.fields["stage"].text, lead.segment_id, present(here)) == ("hot", "hot", ("two", 1))
    events = [e for e in here.events() if e.number > last]
    assert (kinds(events), list(events[0].changed_fields)) == (["STEP_DUE", "RESEGMENTED"], ["stage"])
    assert (events[0].cause.step.step, events[0].due_step.step) == (2, 3)
    assert "because stage changed" in events[1].sentence.text


def test_a_sequence_that_runs_in_circles_is_broken_off(world: Make) -> None:
    here = world()
    back = {**fork("record.revenue > 0.0", then_step_id="s1"), "step_id": "back"}
    started(here, a_sequence(update("kind", text="x"), back))
    assert (present(here), ended(here)) == (("", 0), [("one", "LOOP", pb.ENROLLMENT_PHASE_ENDED)])
    log = here.client.stubs.records.ListDecisions(record_service_pb2.ListDecisionsRequest(record_id="l")).decisions
    assert any("in circles" in line.reason for line in log)
    # Also where each round goes by way of segments: hot sets what is cold and the other way round.
    temper = {"hot": "cold", "cold": "hot"}
    here.apply(
        sequences=[a_sequence(update("stage", text=other), CALL, sequence_id=name) for name, other in temper.items()],
        segments=[
            a_segment(name, condition=f'record.stage == "{name}"', priority=n, accepts_moves=True, sequence_id=name)
            for n, name in enumerate(temper, 1)
        ],
    )
    here.write(Record("m", "lead", {"stage": "hot"}, owner="bob"))
    assert [reason for _, reason, _ in ended(here, "m")][-1] == "LOOP"
    # A circle with a pause in it is none.
    here.apply(sequences=[a_sequence(wait("60s"), {**fork("record.revenue > 0.0", then_step_id="s1"), "step_id": "back"})])
    here.write(Record("n", "lead", {"revenue": 1.0}, owner="bob"))
    here.advance(day("05T13:00"))
    assert present(here, "n") == ("one", 1)
    # Or else the clock of all scenarios has to live through its rounds.
    here.write(Record("n", "lead", active=False))


# Falling due


def test_a_step_falls_due_in_the_owners_working_time_once(world: Make) -> None:
    here = world()
    email = {"email": {"template": "intro", "subject": "Hello"}, "display_name": "Intro", "overdue_after": "7200s"}
    started(here, a_sequence(wait("36000s"), email))
    here.write(Record("b", "lead", {"company": "Contoso"}, owner="bob"))
    here.advance(day("05T21:20"))
    # Bob, who is always there, is told at once; Ann in the morning.
    assert (told(here, "bob"), told(here, "ann")) == ([("STEP_DUE", 2)], [])
    event = here.notices("bob")[-1].event
    assert (event.due_step.definition.email.template, event.due_step.definition.email.subject) == ("intro", "Hello")
    assert (event.due_step.seller_id, event.due_step.enrollment_id) == ("bob", here.record("b").enrollment.enrollment_id)
    assert event.sentence.text == "Intro for Contoso is due."
    # She takes the morning off, so that it falls due later.
    away = seller_pb2.TimeOff(time_off_id="dentist", start_time=timestamp(at(day("06T08:00"))), end_time=timestamp(at(day("06T10:30"))))
    here.client.stubs.sellers.AddTimeOff(seller_service_pb2.AddTimeOffRequest(seller_ids=["ann"], time_off=away))
    here.advance(day("06T10:29"))
    assert told(here, "ann") == []
    here.advance(day("06T10:30"))
    assert told(here, "ann") == [("STEP_DUE", 2)]
    assert told(here, "bob") == [("STEP_DUE", 2), ("OVERDUE", 2)]
    here.advance(day("06T12:30"))
    assert told(here, "ann") == [("STEP_DUE", 2), ("OVERDUE", 2)]
    assert [(s.record_id, s.overdue) for s in open_steps(here, seller_id="ann")] == [("l", True)]
    here.advance(day("12T12:00"))
    assert told(here, "ann") == [("STEP_DUE", 2), ("OVERDUE", 2)]
    assert [s.record_id for s in open_steps(here, due_by=timestamp(at(day("06T00:00"))))] == ["b"]


def test_steps_that_may_be_done_at_any_time_do_not_wait_for_the_morning(world: Make) -> None:
    here = world()
    started(here, a_sequence(wait("36000s"), CALL, due_at_any_time=True))
    here.advance(day("05T21:20"))
    assert told(here, "ann") == [("STEP_DUE", 2)]


def snooze(world: World, step: int, seconds: int, **more: Any) -> None:
    request = pb.SnoozeStepRequest(record_id="l", step=step, **more)
    request.duration.FromSeconds(seconds)
    world.client.stubs.sequences.SnoozeStep(request)
    world.settle()


def test_a_step_that_is_put_off_falls_due_again(world: Make) -> None:
    here = world()
    started(here, a_sequence(CALL, wait("60s")))
    assert told(here, "ann") == [("STEP_DUE", 1)]
    with pytest.raises(InvalidArgument, match="duration"):
        snooze(here, 1, 0)
    snooze(here, 1, 8 * 3_600)
    assert [s.due_time.ToDatetime().isoformat() for s in open_steps(here)] == ["2026-03-06T09:00:00"]
    assert open_steps(here, due_by=timestamp(at(day("06T08:59")))) == []
    here.advance(day("06T08:59"))
    assert told(here, "ann") == [("STEP_DUE", 1)]
    here.advance(day("06T09:00"))
    assert told(here, "ann") == [("STEP_DUE", 1)] * 2
    complete(here, 1)
    with pytest.raises(FailedPrecondition, match="done by the server"):
        snooze(here, 2, 60)
    with pytest.raises(FailedPrecondition, match="not the present one"):
        snooze(here, 1, 60)


# Owners and moves


@pytest.mark.parametrize(
    ("policy", "first", "second"),
    [
        ("OPEN_STEP_POLICY_KEEP", (1, "ann"), (2, "bob")),
        ("OPEN_STEP_POLICY_HAND_OVER", (1, "bob"), (2, "bob")),
        ("OPEN_STEP_POLICY_CANCEL", (2, "bob"), (3, "bob")),
    ],
)
def test_what_is_open_on_a_new_owner_goes_by_the_sequence(
    world: Make, policy: str, first: tuple[int, str], second: tuple[int, str]
) -> None:
    here = world()
    started(here, a_sequence(*[CALL] * 6, on_owner_change=policy))
    here.give("bob", "l")
    assert [(s.step, s.seller_id) for s in open_steps(here)] == [first]
    complete(here, first[0])
    assert [(s.step, s.seller_id) for s in open_steps(here)] == [second]
    # Nobody has it, then Ann: what comes next is hers.
    here.release("l")
    skip(here, present(here)[1])
    here.give("ann", "l")
    assert [s.seller_id for s in open_steps(here)] == ["ann"]


@pytest.mark.parametrize(
    ("policy", "left"),
    [("UNSPECIFIED", ["ann"]), ("KEEP", ["ann"]), ("HAND_OVER", ["bob"]), ("CANCEL", [])],
)
def test_what_is_open_on_a_move_goes_by_the_sequence(world: Make, policy: str, left: list[str]) -> None:
    here = world()
    to_bob = a_rule("bob", target={"sellers": {"seller_ids": ["bob"]}})
    moved = {"accepts_moves": True, "assign_on_move": True, "sequence_id": "two"}
    big = a_segment("big", to_bob, condition="record.revenue >= 10.0", priority=1, **moved)
    started(here, a_sequence(CALL, on_move=f"OPEN_STEP_POLICY_{policy}"), a_sequence(CALL, sequence_id="two"), segments=(big,))
    here.write(a_lead("l", revenue=20.0))
    old, new = enrollments(here)
    assert (old.end_reason, here.owner("l"), present(here)) == ("RESEGMENTED", "bob", ("two", 1))
    found = open_steps(here)
    assert [s.seller_id for s in found if s.enrollment_id == old.enrollment_id] == left
    assert [s.seller_id for s in found if s.enrollment_id == new.enrollment_id] == ["bob"]
    # The move itself has told Bob of what falls to him.
    assert (told(here, "bob"), kinds([n.event for n in here.notices("bob")])) == ([], ["RESEGMENTED"])
    if not left:
        with pytest.raises(FailedPrecondition, match="not open"):
            complete(here, 1, enrollment_id=old.enrollment_id)
        return
    snooze(here, 1, 3_600, enrollment_id=old.enrollment_id)
    here.advance(day("05T12:20"))
    assert told(here, left[0])[-1] == ("STEP_DUE", 1)
    complete(here, 1, "reached", enrollment_id=old.enrollment_id)
    assert present(here) == ("two", 1)
    assert [(s.enrollment_id, s.seller_id) for s in open_steps(here)] == [(new.enrollment_id, "bob")]
    assert here.events()[-1].cause.step.outcome == "reached"


def test_a_closed_record_leaves_nothing_to_be_done(world: Make) -> None:
    here = world()
    big = a_segment("big", condition="record.revenue >= 10.0", priority=1, accepts_moves=True)
    started(here, a_sequence(CALL), segments=(big,))
    here.write(a_lead("l", revenue=20.0), Record("m", "lead", {}, owner="bob"))
    assert [(s.record_id, s.seller_id) for s in open_steps(here)] == [("l", "ann"), ("m", "bob")]
    here.write(Record("l", "lead", active=False), Record("m", "lead", active=False))
    assert open_steps(here) == []
    assert ended(here, "m") == [("one", "RECORD_CLOSED", pb.ENROLLMENT_PHASE_ENDED)]


def test_a_record_that_is_worked_again_joins_its_sequence_anew_unless_it_was_through(world: Make) -> None:
    here = world()
    started(here, a_sequence(CALL, CALL))
    complete(here, 1)
    here.write(Record("l", "lead", active=False))
    assert (present(here), here.record("l").enrollment.status) == (("", 0), record_pb2.SEQUENCE_CONNECTION_STATUS_UNSPECIFIED)
    # Closed and open again within one look, too.
    here.client.records.upsert([Record("l", "lead", active=True), Record("l", "lead", active=False), Record("l", "lead", active=True)])
    here.settle()
    assert (present(here), here.owner("l"), here.loads()["ann"]) == (("one", 1), "ann", 1)
    assert here.record("l").enrollment.status == record_pb2.SEQUENCE_CONNECTION_STATUS_CONNECTED
    assert ended(here) == [("one", "RECORD_CLOSED", pb.ENROLLMENT_PHASE_ENDED)]
    assert kinds(here.events(record_ids=["l"]))[-4:] == ["CLOSED", "REOPENED", "ENROLLED", "STEP_DUE"]
    for step in (1, 2):
        complete(here, step)
    for active in (False, True):
        here.write(Record("l", "lead", active=active))
    assert (present(here), len(enrollments(here))) == (("", 0), 2)
    # Quietly it is taken in without outreach; what was moved meanwhile belongs to where it is now.
    here.write(Record("m", "lead", {"revenue": 1.0}))
    here.write(Record("m", "lead", active=False))
    here.write(Record("m", "lead", active=True), quiet=True)
    assert (present(here, "m"), here.record("m").enrollment.status) == (("", 0), record_pb2.SEQUENCE_CONNECTION_STATUS_SKIPPED)


def test_a_record_that_is_worked_again_is_segmented_and_assigned_as_it_is_now(world: Make) -> None:
    here = world()
    big = a_segment("big", a_rule(), condition="record.revenue >= 10.0", priority=1, sequence_id="two", accepts_moves=True)
    started(here, a_sequence(CALL), a_sequence(CALL, sequence_id="two"), segments=(big,))
    here.write(Record("l", "lead", active=False))
    assert here.loads()["ann"] == 0
    here.write(Record("l", "lead", {"revenue": 50.0}))
    assert here.record("l").segment_id == "leads"
    here.write(Record("l", "lead", active=True))
    lead = here.record("l")
    assert (lead.segment_id, present(here), here.owner("l"), here.status("l")) == ("big", ("two", 1), "ann", "RULES_NOT_RUN_ON_MOVE")
    here.write(Record("l", "lead", active=False))
    here.release("l")
    here.write(Record("l", "lead", active=True))
    assert (here.owner("l"), here.status("l"), present(here)) == ("bob", "ASSIGNED", ("two", 1))


def test_a_record_connected_by_hand_has_its_owner_told(world: Make) -> None:
    here = world()
    started(here, a_sequence(CALL), a_sequence(CALL, CALL, sequence_id="two"))
    here.client.stubs.sequences.Connect(pb.ConnectRequest(record_id="l", sequence_id="two", step=2))
    here.settle()
    assert (present(here), ended(here)) == (("two", 2), [("one", "REPLACED", pb.ENROLLMENT_PHASE_ENDED)])
    assert told(here, "ann") == [("STEP_DUE", 1), ("STEP_DUE", 2)]
    assert [(s.sequence_id, s.step) for s in open_steps(here)] == [("two", 2)]


# Figures, and what a schema change would break


def test_statistics_count_steps_by_what_became_of_them(world: Make) -> None:
    here = world()
    started(here, a_sequence(CALL, fork(outcome="yes"), CALL, exit_on_outcomes=["no"]))
    here.write(*(Record(name, "lead", {}, owner="bob") for name in "abcd"))
    for name, outcome in (("a", "yes"), ("b", "maybe"), ("c", "no")):
        here.client.stubs.sequences.CompleteStep(pb.CompleteStepRequest(record_id=name, step=1, outcome=outcome))
    skip(here, 1)
    here.write(Record("d", "lead", active=False))
    answer = here.client.stubs.sequences.GetStatistics(pb.GetStatisticsRequest(sequence_id="one"))
    rows = [(s.step_id, s.kind, s.reached, s.completed, s.skipped, s.open, dict(s.outcomes), dict(s.ended)) for s in answer.steps]
    assert rows == [
        ("s1", "call", 5, 3, 1, 0, {"yes": 1, "maybe": 1, "no": 1}, {"EXIT_OUTCOME": 1, "RECORD_CLOSED": 1}),
        ("s2", "condition", 3, 3, 0, 0, {"then": 1, "else": 2}, {"COMPLETED": 2}),
        ("s3", "call", 1, 0, 0, 1, {}, {}),
    ]
    assert (answer.active, dict(answer.ended)) == (1, {"EXIT_OUTCOME": 1, "RECORD_CLOSED": 1, "COMPLETED": 2})


def without(field_id: str) -> dict[str, Any]:
    kind = lead_type()
    return kind | {"fields": [field for field in kind["fields"] if field["field_id"] != field_id]}


@pytest.mark.parametrize(
    ("sequence", "named"),
    [
        (a_sequence(CALL, exit_when=['record.kind == "x"']), "exit_when[0]"),
        (a_sequence(CALL, fork('record.kind == "x"')), "steps[1].condition.condition"),
        (a_sequence(CALL, update("kind", text="x")), "steps[1].update_field.field_id"),
    ],
)
def test_a_field_that_a_sequence_needs_stays_declared(world: Make, sequence: dict[str, Any], named: str) -> None:
    here = world()
    started(here, sequence)
    with pytest.raises(InvalidArgument) as refused:
        here.apply(record_types=[without("kind")])
    assert [v.field for v in refused.value.violations] == [f"sequence one.{named}"]
    # What is no longer configured, but still run on, is named with its version.
    here.apply(sequences=[a_sequence(CALL)])
    with pytest.raises(InvalidArgument) as refused:
        here.apply(record_types=[without("kind")])
    assert "version 1" in refused.value.violations[0].description
    assert named in refused.value.violations[0].description
    skip(here, 1)
    if present(here)[0]:
        skip(here, 2)
    here.apply(record_types=[without("kind")])


def test_the_log_tells_every_enrollment_and_step(world: Make) -> None:
    here = world()
    started(
        here,
        a_sequence(CALL, wait("60s"), {"advance": {"sequence_id": "two"}}),
        a_sequence(CALL, update("kind", text="x"), CALL, sequence_id="two"),
    )
    complete(here, 1)
    here.advance(day("05T11:25"))
    complete(here, 1)
    known: list[tuple[str, int]] = []
    for event in here.events(record_ids=["l"]):
        enrollment = event.after.enrollment
        known += [(enrollment.sequence_id, enrollment.step)] if enrollment.enrollment_id else []
    assert list(dict.fromkeys(known)) == [("one", 1), ("one", 2), ("two", 1), ("two", 3)]
    assert here.record("l").enrollment == here.events(record_ids=["l"])[-1].after.enrollment
