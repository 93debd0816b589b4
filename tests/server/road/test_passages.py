"""Random histories of records in sequences, over restarts: which steps are told to be due and overdue, against a slow reference."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reallot.server.services.records import RecordService
from reallot.server.services.sequences import SequenceService
from reallot.server.steps import StepLoop
from reallot.storage import WriteTransaction
from reallot.v1 import record_service_pb2, sequence_service_pb2
from support.api import a_segment, fields_of, resource
from support.logbook import enrolled_once, rebuilt_from_the_log
from support.office import HOUR_US, NO_RERUNS, Office
from support.rows import a_seller


class Step(NamedTuple):
    """A step as the reference knows it: hours of a pause, or, of one that somebody does, hours until it is overdue."""

    kind: str
    hours: int | None = None


SEQUENCES = {
    "reach": (Step("call"), Step("wait", 3), Step("email", 2), Step("task")),
    "warm": (Step("wait", 2), Step("call", 1), Step("wait", 1), Step("email")),
}
IDS = st.sampled_from(["L0", "L1"])
HISTORIES = st.lists(
    st.one_of(
        st.tuples(st.just("write"), IDS, st.sampled_from([0, 9])),
        st.tuples(st.just("complete"), IDS),
        st.tuples(st.just("skip"), IDS),
        st.tuples(st.just("snooze"), IDS, st.integers(1, 4)),
        st.tuples(st.just("delete"), IDS),
        st.tuples(st.just("pass"), st.integers(1, 5)),
        st.just(("restart",)),
        st.just(("work",)),
    ),
    min_size=4,
    max_size=24,
)

BEGINNING = (("write", "L0", 0), ("write", "L1", 9), ("work",))
ENDING = (("work",), ("pass", 2), ("restart",), ("work",), ("pass", 9), ("restart",), ("work",))


@dataclass
class Reference:
    """One record: where it stands in which sequence, and of which steps somebody has been told, as (sequence, step, overdue)."""

    score: int
    sequence: str = ""
    step: int = 0
    begins_us: int = 0
    told: bool = False
    told_overdue: bool = False
    heard: list[tuple[str, int, bool]] = field(default_factory=list)

    @property
    def present(self) -> Step | None:
        return SEQUENCES[self.sequence][self.step - 1] if self.step else None

    def go_to(self, step: int, begins_us: int) -> None:
        """Come to a step; beyond the last the sequence is over."""
        self.step = step if step <= len(SEQUENCES[self.sequence]) else 0
        self.begins_us, self.told, self.told_overdue = begins_us, False, False

    def work(self, now_us: int) -> None:
        """Be segmented, then looked at as long as anything is due."""
        wanted = "warm" if self.score > 5 else "reach"
        joins = wanted != self.sequence
        if joins:
            self.sequence = wanted
            self.go_to(1, now_us)
        self.look(now_us, silent=joins)
        self.look_for_overdue(now_us)

    def look(self, now_us: int, *, silent: bool = False) -> None:
        while self.present is not None and self.present.kind == "wait":
            ends_us = self.begins_us + (self.present.hours or 0) * HOUR_US
            if ends_us > now_us:
                return
            self.go_to(self.step + 1, ends_us)
        if self.present is not None and not self.told and self.begins_us <= now_us:
            self.told = True
            self.heard += [] if silent else [(self.sequence, self.step, False)]

    def look_for_overdue(self, now_us: int) -> None:
        late = self.present.hours if self.present is not None and self.present.kind != "wait" else None
        if late is not None and self.told and not self.told_overdue and self.begins_us + late * HOUR_US <= now_us:
            self.told_overdue = True
            self.heard.append((self.sequence, self.step, True))

    def end_step(self, now_us: int) -> None:
        self.go_to(self.step + 1, now_us)
        self.look(now_us)

    def snooze(self, now_us: int, hours: int) -> None:
        # Whoever puts a step off has seen that it is due; that it is overdue is told if it was not yet.
        self.look_for_overdue(now_us)
        self.begins_us, self.told, self.told_overdue = now_us + hours * HOUR_US, False, False


def configure(office: Office) -> None:
    office.move()
    said = {"record_type": "lead", "due_at_any_time": True, "on_move": "OPEN_STEP_POLICY_CANCEL"}
    sequences = [resource(sequence={"sequence_id": name, "steps": list(described(name)), **said}) for name in SEQUENCES]
    rule = {"rules": [{"rule_id": "any"}], "accepts_moves": True}
    parts = {"condition": "record.score > 5", "on_no_match": "ON_NO_MATCH_DEFAULT_SEGMENT", "sequence_id": "warm"}
    segments = (a_segment("hot", 1, **rule, **parts), a_segment("rest", 0, is_default=True, sequence_id="reach", **rule))
    lead = resource(record_type={"record_type": "lead", "fields": fields_of(score="INTEGER")})
    office.apply(resource(settings=NO_RERUNS), lead, *sequences, *(resource(segment=segment) for segment in segments))
    office.hire(a_seller("ann"))


def described(name: str) -> Iterator[dict[str, Any]]:
    for number, step in enumerate(SEQUENCES[name], 1):
        length = f"{(step.hours or 0) * 3_600}s"
        body = {"wait": {"duration": length}, "email": {"template": "t"}, "task": {"subject": "t"}, "call": {}}[step.kind]
        overdue = {"overdue_after": length} if step.kind != "wait" and step.hours else {}
        yield {"step_id": f"s{number}", step.kind: body, **overdue}


def settle(office: Office) -> None:
    """Work until nothing is due any more."""
    office.work()
    while dict(office.read(StepLoop.next_due)).get(office.workspace, office.clock.now_us() + 1) <= office.clock.now_us():
        office.write(lambda tx: StepLoop.carry_out(tx, office.config))


class Crash(Exception):
    """The server goes down before it has committed."""


def crash_amid_due_steps(office: Office) -> None:
    config = office.config

    def work(tx: WriteTransaction) -> None:
        StepLoop.carry_out(tx, config)
        raise Crash

    try:
        office.write(work)
    except Crash:
        office.restart()


def take(office: Office, known: dict[str, Reference], step: tuple[Any, ...]) -> None:
    now_us, sequences = office.clock.now_us(), SequenceService(office.runtime)
    here = known.get(step[1]) if len(step) > 1 else None
    acts = here is not None and here.present is not None and here.present.kind != "wait"
    match step:
        case ("write", name, score):
            office.lead(name, score=score)
            known.setdefault(name, Reference(score)).score = score
        case ("complete" | "skip" as how, name) if acts and here:
            request = {"record_id": name, "step": here.step}
            if how == "complete":
                office.call(sequences.CompleteStep, sequence_service_pb2.CompleteStepRequest(**request))
            else:
                office.call(sequences.SkipStep, sequence_service_pb2.SkipStepRequest(**request))
            here.end_step(now_us)
        case ("snooze", name, hours) if acts and here:
            snooze = sequence_service_pb2.SnoozeStepRequest(record_id=name, step=here.step)
            snooze.duration.FromSeconds(hours * 3_600)
            office.call(sequences.SnoozeStep, snooze)
            here.snooze(now_us, hours)
        case ("delete", name):
            office.call(RecordService(office.runtime).DeleteRecords, record_service_pb2.DeleteRecordsRequest(record_ids=[name]))
            if here is not None:
                # What was told stays told; what comes under the id later begins anew.
                here.sequence, here.step, here.score = "", 0, -1
        case ("pass", hours):
            office.runner.run(office.clock.set(now_us + hours * HOUR_US))
        case ("restart",):
            crash_amid_due_steps(office)
        case ("work",):
            settle(office)
            for reference in known.values():
                if reference.score >= 0:
                    reference.work(now_us)


def heard(office: Office) -> dict[str, list[tuple[str, int, bool]]]:
    found: dict[str, list[tuple[str, int, bool]]] = {}
    for event in office.events():
        due = (event.cause or {}).get("due_step")
        if due is not None:
            found.setdefault(event.record_id, []).append((due["sequence_id"], due["step"], event.kind == "OVERDUE"))
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=HISTORIES)
def test_every_step_is_told_once_when_it_falls_due_whatever_happens_meanwhile(
    shared_office: Office, history: list[tuple[Any, ...]]
) -> None:
    office, known = shared_office, dict[str, Reference]()
    configure(office)
    for step in (*BEGINNING, *history, *ENDING):
        take(office, known, step)
        if step == ("work",):
            assert heard(office) == {name: reference.heard for name, reference in known.items() if reference.heard}
            stands = {r.record_id: (r.sequence_id, r.step) if r.enrollment_id else ("", 0) for r in office.records()}
            assert stands == {n: (r.sequence if r.step else "", r.step) for n, r in known.items() if r.score >= 0}
    records = office.records()
    rebuilt_from_the_log(office, records)
    enrolled_once(office, records)
