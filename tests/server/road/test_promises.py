"""What must hold after anything: nobody waits without a reason, nobody gets more than they can take, what is kept adds up."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reallot.server.convert.records import state_text
from reallot.server.lanes import ENDED
from reallot.server.services.configuration import ConfigService
from reallot.server.services.records import RecordService
from reallot.server.workers import WorkerKilled
from reallot.storage.entities import Record
from reallot.v1 import assignment_service_pb2, config_pb2, config_service_pb2, record_service_pb2
from support.api import a_row, a_segment, resource
from support.cases import cases
from support.logbook import enrolled_once, rebuilt_from_the_log
from support.office import HOUR_US, Office, everybody, leads
from support.rows import a_seller, recount

SELLERS = ("ann", "bob", "eve")
POLICIES = st.sampled_from(["POLICY_ROUND_ROBIN", "POLICY_LOAD_BALANCING"])
TARGETS = st.sampled_from(
    [
        {},
        {"sellers": {"seller_ids": ["ann"]}},
        {"sellers": {"seller_ids": ["bob", "eve"]}},
        {"matching": "seller.country == record.country"},
    ]
)


@st.composite
def a_rule(draw: st.DrawFn, number: int) -> dict[str, Any]:
    return {
        "rule_id": f"r{number}",
        "target": draw(TARGETS),
        "policy": draw(POLICIES),
        "condition": draw(st.sampled_from(["", "record.score > 1"])),
        "on_no_seller": draw(st.sampled_from(["ON_NO_SELLER_NEXT_RULE", "ON_NO_SELLER_STOP"])),
    }


@st.composite
def a_random_segment(draw: st.DrawFn, number: int) -> dict[str, Any]:
    return a_segment(
        f"s{number}",
        number,
        condition=draw(st.sampled_from(["record.score > 2", "record.score < 2", 'record.country == "DE"'])),
        on_arrival=draw(st.sampled_from(["ON_ARRIVAL_ASSIGN", "ON_ARRIVAL_WAIT"])),
        accepts_moves=draw(st.booleans()),
        assign_on_move=draw(st.booleans()),
        owner_policy=draw(st.sampled_from(["OWNER_POLICY_REASSIGN", "OWNER_POLICY_KEEP_IF_ELIGIBLE"])),
        on_no_match=draw(st.sampled_from(["ON_NO_MATCH_STAY", "ON_NO_MATCH_DEFAULT_SEGMENT", "ON_NO_MATCH_RELEASE"])),
        sequence_id=draw(st.sampled_from(["", "one", "two"])),
        rules=[draw(a_rule(i)) for i in range(draw(st.integers(0, 2)))],
    )


SEGMENTS = st.tuples(a_random_segment(1), a_random_segment(2), st.sampled_from([None, everybody("rest", accepts_moves=True)]))
STAFF = st.fixed_dictionaries({name: st.integers(0, 3) for name in SELLERS})
IDS = st.sampled_from([f"L{i}" for i in range(6)])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), IDS, st.integers(0, 4), st.sampled_from(["DE", "FR"])),
        st.tuples(st.just("close"), IDS),
        st.tuples(st.just("release"), IDS),
        st.tuples(st.just("delete"), IDS),
        st.tuples(st.just("give"), IDS, st.sampled_from(SELLERS)),
        st.tuples(st.just("switch"), st.sampled_from(SELLERS), st.booleans()),
        st.tuples(st.just("configure"), SEGMENTS),
        st.tuples(st.just("run"), st.booleans(), st.booleans(), st.sampled_from([0, 1])),
        st.tuples(st.just("undo"), st.integers(0, 3)),
        st.tuples(st.just("drop"), st.sampled_from(["s1", "s2"])),
        st.just(("work",)),
    ),
    min_size=1,
    max_size=14,
)


def configure(office: Office, segments: tuple[dict[str, Any] | None, ...]) -> None:
    office.apply(*leads(*(s for s in segments if s), settings={}))


def take(office: Office, step: tuple[Any, ...]) -> None:
    match step:
        case ("write", record_id, score, country):
            office.lead(record_id, score=score, country=country)
        case ("close", record_id):
            office.upsert(a_row(record_id, active=False))
        case ("delete", record_id):
            office.call(RecordService(office.runtime).DeleteRecords, record_service_pb2.DeleteRecordsRequest(record_ids=[record_id]))
        case ("release", record_id):
            office.call(office.assignment.ReleaseRecords, assignment_service_pb2.ReleaseRecordsRequest(record_ids=[record_id]))
        case ("give", record_id, seller):
            request = assignment_service_pb2.AssignRecordsRequest(record_ids=[record_id], owner={"seller_id": seller})
            office.call(office.assignment.AssignRecords, request)
        case ("switch", seller, on):
            office.seller(seller, assignable=on)
        case ("configure", segments):
            configure(office, segments)
        case ("undo", back):
            undo(office, back)
        case ("drop", segment_id):
            request = config_service_pb2.DeleteConfigRequest(kind=config_pb2.CONFIG_KIND_SEGMENT, id=segment_id)
            if office.config.find("segment", segment_id) is not None:
                office.call(ConfigService(office.runtime).DeleteConfig, request)
        case ("run", ineligible, resegment, limit):
            office.start(owned_but_ineligible=ineligible, resegment=resegment, limit=limit)
        case _:
            office.work()


def undo(office: Office, back: int) -> None:
    """Undo one of the latest runs, intakes included: what it says of each record is how the record stands, also when it is asked again."""
    ended = [run for run in office.read(lambda tx: tx.runs.page(office.workspace, limit=20)) if run.state in ENDED]
    if len(ended) <= back:
        return
    request = assignment_service_pb2.UndoRunRequest(run_id=ended[back].run_id)
    tried = office.call(office.assignment.UndoRun, assignment_service_pb2.UndoRunRequest(run_id=request.run_id, validate_only=True))
    answer, told = office.call(office.assignment.UndoRun, request), len(office.events())
    assert (answer.undone, answer.left_records, answer.forgotten) == (tried.undone, tried.left_records, 0)
    for move in tried.moves:
        state = json.loads(state_text(office.record(move.record_id)))
        assert state.get("segment_id", "") == move.after.segment_id
        assert (state.get("owner") or {}).get("seller_id", "") == move.after.owner.seller_id
    again = office.call(office.assignment.UndoRun, request)
    assert (again.undone, again.left, len(office.events())) == (answer.undone, answer.left, told)


@settings(max_examples=cases(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(segments=SEGMENTS, staff=STAFF, steps=STEPS)
def test_the_promises_hold_after_any_history(
    shared_office: Office, segments: tuple[dict[str, Any] | None, ...], staff: dict[str, int], steps: list[tuple[Any, ...]]
) -> None:
    office = shared_office
    office.move()
    office.hire(*(a_seller(name, capacity={"total": most}, attributes={"country": "DE"}) for name, most in staff.items()))
    configure(office, segments)
    for step in steps:
        office.runner.run(office.clock.set(office.clock.now_us() + HOUR_US))
        take(office, step)
    office.work()
    records = office.records()
    assert all(r.owner is not None or (r.assignment and r.reason) for r in records if r.active), unexplained(records)
    assert office.loads() == recount(records)
    held = Counter(r.owner.id for r in records if r.active and r.owner)
    assert all(held[name] <= most for name, most in staff.items())
    assert office.read(lambda tx: tx.pending.count(office.workspace)) == 0
    told_truly(office, records)
    rebuilt_from_the_log(office, records)
    enrolled_once(office, records)


def unexplained(records: list[Record]) -> list[Record]:
    return [r for r in records if r.active and r.owner is None and not (r.assignment and r.reason)]


def told_truly(office: Office, records: list[Record]) -> None:
    """The last event of each record shows who owns it and where it is, and so do all before it of each other."""
    latest: dict[str, Any] = {}
    for event in office.events():
        if event.kind == "DELETED":
            del latest[event.record_id]
            continue
        if event.record_id in latest and event.before is not None:
            assert {k: event.before.get(k) for k in ("owner", "segment_id")} == latest[event.record_id]
        latest[event.record_id] = {k: (event.after or {}).get(k) for k in ("owner", "segment_id")}
    assert latest == {r.record_id: {k: json.loads(state_text(r)).get(k) for k in ("owner", "segment_id")} for r in records}


@pytest.mark.parametrize("batch", [True, False])
def test_the_same_history_gives_the_same_result(office: Office, batch: bool) -> None:
    outcomes = []
    for _ in range(2):
        office.move()
        office.apply(*leads(everybody("all", {"rule_id": "r", "policy": "POLICY_LOAD_BALANCING"})))
        office.hire(*(a_seller(name) for name in SELLERS))
        for i in range(7):
            office.lead(f"L{i}")
            if not batch:
                office.work()
        office.work()
        outcomes.append(office.owners(*(f"L{i}" for i in range(7))))
    assert outcomes[0] == outcomes[1]


def test_a_record_at_which_the_solver_fails_is_set_aside_and_the_others_go_on(office: Office) -> None:
    office.apply(*leads(everybody()))
    office.hire(a_seller("ann"))
    office.upsert(*(a_row(f"L{i}") for i in range(5)))

    def fail(task: Any) -> None:
        if "L3" in task.record_ids:
            raise ValueError("this one")

    office.worker.before = fail
    office.work()
    assert [office.owner(f"L{i}") for i in range(5)] == ["ann", "ann", "ann", "", "ann"]
    found = office.record("L3")
    assert (found.assignment, "incident" in found.reason) == ("INTERNAL_ERROR", True)
    office.worker.before = lambda _task: None
    office.run()
    assert office.owner("L3") == "ann"


def test_a_worker_that_is_killed_once_puts_no_blame_on_a_record(office: Office) -> None:
    office.apply(*leads(everybody()))
    office.hire(a_seller("ann"))
    left = [None]

    def die(_task: Any) -> None:
        if left:
            left.pop()
            raise WorkerKilled("killed")

    office.worker.before = die
    office.upsert(a_row("L1"))
    office.work()
    assert (office.record("L1").assignment, left) == ("ASSIGNED", [])


def test_a_batch_whose_commit_fails_is_halved_too(office: Office) -> None:
    office.apply(*leads(everybody()))
    office.hire(a_seller("ann"))
    office.upsert(a_row("L1"), a_row("L2"))
    office.apply(resource(segment=everybody()))
    office.worker.after = lambda task: _spoil(office, task)
    office.work()
    assert sorted(office.owners("L1", "L2")) == ["ann", "ann"]


def _spoil(office: Office, task: Any) -> None:
    """Fail after planning, as a commit that cannot be made would, while the batch has more than one record."""
    if len(task.record_ids) > 1:
        raise RuntimeError("the batch cannot be committed")
