"""Runs: what they take, what they leave alone, and what happens when something comes between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from reallot.server.lanes import MOST_DEATHS, RunLane
from reallot.server.progress import ProgressBoard
from reallot.server.road.batch import Planned, Task
from reallot.server.services.assignment import AssignmentService
from reallot.server.services.records import RecordService
from reallot.server.workers import WorkerFailed, WorkerKilled
from reallot.server.workspace_config import to_body
from reallot.storage.entities import ConfigRow, PendingMark
from reallot.v1 import assignment_service_pb2, record_pb2, record_service_pb2
from support.api import a_row, a_segment, resource, seller_owner
from support.office import HOUR_US, Office, everybody, leads, listed
from support.rows import a_record, a_seller, change, create
from support.spoken import english

WAITS = {"on_arrival": "ON_ARRIVAL_WAIT"}


def waiting(office: Office, count: int, *, free: int = 5_000) -> list[str]:
    """Leads that wait for a run, oldest first, and one seller."""
    office.apply(*leads(everybody(**WAITS)))
    office.hire(a_seller("ann", capacity={"total": free}))
    ids = [f"L{i:05}" for i in range(count)]
    for start in range(0, count, 1_000):
        office.upsert(*(a_row(i) for i in ids[start : start + 1_000]))
    office.work()
    return ids


def cancel(office: Office, run_id: str) -> None:
    office.call(office.assignment.CancelRun, assignment_service_pb2.CancelRunRequest(run_id=run_id))


def test_a_run_tells_what_it_did(office: Office) -> None:
    waiting(office, 3, free=2)
    run = office.run()
    assert (run.kind, run.state, run.stage) == ("MANUAL", "SUCCEEDED", "done")
    wanted = {"assigned": 2, "considered": 3, "failed": 1, "status:ASSIGNED": 2, "status:NO_CAPACITY": 1}
    assert {name: number for name, number in run.counts.items() if number} == wanted
    assert run.body["termination"] == ["OPTIMAL", ""]
    assert set(run.body["seconds"]) == {"read", "segment", "plan", "solve", "check"}


def test_each_record_of_a_run_has_a_line_in_its_log(office: Office) -> None:
    waiting(office, 2, free=1)
    run = office.run()
    lines = office.read(lambda tx: tx.decisions.of_run(office.workspace, run.run_id, 0, 10))
    assert [(d.record_id, d.status, d.considered[0]["verdicts"]) for d in lines] == [
        ("L00000", "ASSIGNED", {"ELIGIBLE": 1}),
        ("L00001", "NO_CAPACITY", {"ELIGIBLE": 1}),
    ]


def test_a_run_takes_only_what_is_selected(office: Office) -> None:
    office.apply(*leads(a_segment("high", 1, condition="record.score > 5", rules=[{"rule_id": "any"}], **WAITS), everybody(**WAITS)))
    office.hire(a_seller("ann"))
    office.upsert(a_row("low", {"score": 1}), a_row("eight", {"score": 8}), a_row("nine", {"score": 9}))
    office.work()
    office.run(record_type="lead", filter="record.score < 9", segment_ids=["high"])
    assert office.owners("low", "eight", "nine") == ["", "ann", ""]


def test_a_run_takes_only_the_statuses_it_is_asked_for(office: Office) -> None:
    waiting(office, 1, free=0)
    office.run()
    office.lead("new")
    office.work()
    office.seller("ann", capacity={"total": 5})
    office.run(statuses=[record_pb2.ASSIGNMENT_STATUS_NO_CAPACITY])
    assert office.owners("L00000", "new") == ["ann", ""]


def test_records_that_cannot_be_covered_do_not_use_up_the_limit(office: Office) -> None:
    full = a_segment("full", 1, condition="record.score > 5", rules=[listed("f", "full")], **WAITS)
    office.apply(*leads(full, everybody("rest", listed("r", "free"), **WAITS)))
    office.hire(a_seller("full", capacity={"total": 0}), a_seller("free"))
    for record_id, score in (("hot1", 9), ("hot2", 9), ("cold1", 1), ("cold2", 1)):
        office.lead(record_id, score=score)
        office.runner.run(office.clock.set(office.clock.now_us() + HOUR_US))
    office.work()
    run = office.run(limit=1)
    assert office.owners("hot1", "hot2", "cold1", "cold2") == ["", "", "free", ""]
    assert [office.record(i).assignment for i in ("hot1", "cold2")] == ["NO_CAPACITY", "WAITING"]
    assert run.counts["assigned"] == 1


# Owners who are no longer eligible


def territories(office: Office) -> None:
    office.apply(*leads(everybody("all", {"rule_id": "here", "target": {"matching": "seller.country == record.country"}})))
    office.hire(a_seller("ann", attributes={"country": "DE"}), a_seller("bob", attributes={"country": "DE"}))


def test_owners_who_are_no_longer_eligible_give_up_their_records_and_others_keep_theirs(office: Office) -> None:
    territories(office)
    office.upsert(*(a_row(f"L{i}", {"country": "DE"}) for i in range(4)))
    office.work()
    kept = {r.record_id: r for r in office.records() if r.owner and r.owner.id == "bob"}
    office.seller("ann", attributes={"country": "FR"})
    run = office.run(owned_but_ineligible=True)
    assert office.owners("L0", "L1", "L2", "L3") == ["bob"] * 4
    assert {r.record_id: r for r in office.records() if r.record_id in kept} == kept
    assert (run.counts["considered"], run.counts["moved"]) == (2, 2)


def test_a_record_whose_owner_is_gone_and_whom_nobody_can_take_is_released_with_the_reason(office: Office) -> None:
    territories(office)
    office.seller("bob", assignable=False)
    office.lead("L1", country="DE")
    office.work()
    office.seller("ann", attributes={"country": "FR"})
    run = office.run(owned_but_ineligible=True)
    found = office.record("L1")
    assert (found.owner, found.assignment, run.counts["released"]) == (None, "SELLER_NOT_ELIGIBLE", 1)


def test_without_being_asked_a_run_leaves_all_owners(office: Office) -> None:
    territories(office)
    office.lead("L1", country="DE")
    office.work()
    before = office.record("L1")
    office.seller("ann", attributes={"country": "FR"})
    office.seller("bob", attributes={"country": "FR"})
    office.run()
    assert office.record("L1") == before


def test_where_no_rule_applies_the_owner_is_kept(office: Office) -> None:
    rule = {"rule_id": "hot", "condition": "record.score > 5"}
    office.apply(*leads(a_segment("none", 1, condition='record.country == "DE"'), everybody("all", rule)))
    office.hire(a_seller("ann"))
    office.upsert(*(a_row(i, {"country": c}, owner=seller_owner("ann")) for i, c in (("ruleless", "DE"), ("unmatched", "FR"))))
    office.work()
    run = office.run(owned_but_ineligible=True)
    assert office.owners("ruleless", "unmatched") == ["ann", "ann"]
    assert run.counts == {}


def test_an_owner_whom_a_later_rule_chose_is_eligible_under_that_rule(office: Office) -> None:
    office.apply(*leads(everybody("all", listed("first", "ann"), listed("second", "bob"))))
    office.hire(a_seller("ann", capacity={"total": 0}), a_seller("bob"))
    office.lead("L1")
    office.work()
    office.seller("ann", capacity={"total": 5})
    office.run(owned_but_ineligible=True)
    assert office.owner("L1") == "bob"


# What comes between


def test_what_a_run_has_handled_is_not_handled_again_when_it_is_taken_up(office: Office) -> None:
    waiting(office, 2_100)
    run_id = office.start()
    office.runner.run(interrupted_after_first_commit(office))
    assert (office.stored_run(run_id).state, sum(r.owner is not None for r in office.records())) == ("RUNNING", 2_000)
    office.restart()
    office.work()
    assert office.stored_run(run_id).counts["assigned"] == 2_100
    assert {r.attempts for r in office.records()} == {1}


def test_turns_count_in_their_order_although_records_are_committed_by_id(office: Office) -> None:
    """Ann and Bob take turns until Bob has his hundred, so his last turn is the older one, though his ids are committed last."""
    german, french = (listed(f"to-{name}", name, condition=f'record.country == "{c}"') for name, c in (("ann", "DE"), ("bob", "FR")))
    office.apply(*leads(everybody("all", german, french, listed("open", "ann", "bob"), **WAITS)))
    office.hire(*(a_seller(name, capacity={"total": 5_000}) for name in ("ann", "bob")))
    office.upsert(*(a_row(f"z{i:04}", {"country": "FR"}) for i in range(100)))
    for start in range(0, 2_000, 1_000):
        office.runner.run(office.clock.set(office.clock.now_us() + HOUR_US))
        office.upsert(*(a_row(f"a{i:04}", {"country": "DE"}) for i in range(start, start + 1_000)))
    office.work()
    office.run()
    turns = {turn.seller_id: turn.order for turn in office.read(lambda tx: tx.sellers.turns(office.workspace))}
    assert turns == {"bob": 200, "ann": 2_100}
    office.lead("next")
    office.work()
    office.run()
    assert office.owner("next") == "bob"


async def interrupted_after_first_commit(office: Office) -> None:
    """Let the run lane work and stop it once something is assigned."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(office.runs.drain())
    office.after_next_commit(lambda: loop.call_soon_threadsafe(task.cancel), when=lambda: any(office.loads()))
    await asyncio.gather(task, return_exceptions=True)


def test_a_run_that_reached_its_limit_before_a_crash_assigns_no_more(office: Office) -> None:
    waiting(office, 3)
    run_id = office.start(limit=1)
    stored = office.stored_run(run_id)
    office.write(lambda tx: tx.runs.update(office.workspace, replace(stored, state="RUNNING", counts={"assigned": 1})))
    office.work()
    assert office.stored_run(run_id).state == "SUCCEEDED"
    assert office.owners("L00000", "L00001", "L00002") == ["", "", ""]


def test_a_run_that_has_not_begun_is_cancelled_at_once_even_in_a_paused_workspace(office: Office) -> None:
    office.apply(*leads(everybody(**WAITS), settings={"paused": True}))
    run_id = office.start()
    cancel(office, run_id)
    assert office.stored_run(run_id).state == "CANCELLED"


def test_a_run_that_is_cancelled_while_it_is_planned_changes_nothing(office: Office) -> None:
    ids = waiting(office, 3)
    run_id = office.start()
    office.worker.after = lambda task: office.write(lambda tx: tx.runs.request_cancel(task.workspace, task.run_id))
    office.work()
    assert office.stored_run(run_id).state == "CANCELLED"
    assert office.owners(*ids) == ["", "", ""]


class NeverDone:
    """A worker that plans for ever."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    @asynccontextmanager
    async def plan(self, task: Task, on_stage: Callable[[str], None], time_limit_s: float | None = None) -> AsyncIterator[Planned]:
        on_stage("solve")
        self.begun.set()
        await asyncio.Event().wait()
        raise AssertionError("nothing wakes it")
        yield


def test_cancelling_ends_a_solve_that_would_go_on_for_ever(office: Office) -> None:
    ids = waiting(office, 2)
    run_id = office.start()

    async def cancelled() -> None:
        worker, board = NeverDone(), ProgressBoard()
        lane, loop = RunLane(office.runtime, worker, board), asyncio.get_running_loop()
        office.db.on_commit(lambda _: loop.is_closed() or loop.call_soon_threadsafe(lane.look_for_cancel))
        working = asyncio.ensure_future(lane.drain())
        await worker.begun.wait()
        request = assignment_service_pb2.CancelRunRequest(workspace=office.workspace, run_id=run_id)
        await AssignmentService(office.runtime, board, office.desk).CancelRun(request, None)  # type: ignore[arg-type]
        await working

    office.runner.run(cancelled())
    assert (office.stored_run(run_id).state, office.owners(*ids)) == ("CANCELLED", ["", ""])


def test_a_run_that_is_cancelled_between_two_commits_keeps_what_it_has_committed(office: Office) -> None:
    waiting(office, 2_100)
    run_id = office.start()
    ask = partial(office.db.submit_write, office.workspace, lambda tx: tx.runs.request_cancel(office.workspace, run_id))
    office.after_next_commit(ask, when=lambda: any(office.loads()))
    office.work()
    run = office.stored_run(run_id)
    assert (run.state, run.counts["assigned"]) == ("CANCELLED", 2_000)
    assert sum(r.owner is not None for r in office.records()) == 2_000


def test_a_plan_of_another_configuration_is_made_anew(office: Office) -> None:
    ids = waiting(office, 2)
    office.hire(a_seller("bob"))
    tasks: list[Task] = []
    only_bob = ConfigRow("segment", "all", to_body(resource(segment=everybody("all", listed("only", "bob"), **WAITS))), 0, 0, 0)

    def change_rules_once(task: Task) -> None:
        tasks.append(task)
        if len(tasks) == 1:
            office.write(lambda tx: tx.config.apply(office.workspace, [only_bob], [], actor="", time_us=tx.now_us))

    office.worker.after = change_rules_once
    run = office.run()
    assert (len(tasks), run.state, office.owners(*ids)) == (2, "SUCCEEDED", ["bob", "bob"])


def test_a_slot_that_is_taken_while_a_run_is_planned_sends_its_record_on_to_the_next_seller(office: Office) -> None:
    office.apply(*leads(everybody("all", listed("first", "ann"), listed("second", "bob"), **WAITS)))
    office.hire(a_seller("ann", capacity={"total": 1}), a_seller("bob"))
    office.lead("L1")
    office.work()
    office.while_planning(lambda: create(office.db, office.workspace, a_record("taken", seller="ann")))
    run = office.run()
    assert (office.owner("L1"), run.counts["lost"], office.record("L1").assignment) == ("bob", 1, "ASSIGNED")


def test_a_record_that_changes_while_a_run_is_planned_is_decided_by_what_it_has_become(office: Office) -> None:
    office.apply(*leads(high_and_low(), everybody("low", listed("l", "ann"), **WAITS)))
    office.hire(a_seller("ann"), a_seller("bob"))
    office.lead("L1", score=1)
    office.work()
    mark = PendingMark("L1", 0, {"kind": "UPDATED", "resegment": True})
    office.while_planning(lambda: change(office.db, office.workspace, "L1", fields={"score": 9}, parts={"mark": mark}))
    run = office.run()
    assert (office.owner("L1"), office.record("L1").segment_id, run.counts["lost"]) == ("bob", "high", 1)


def high_and_low() -> dict[str, Any]:
    return a_segment("high", 1, condition="record.score > 5", accepts_moves=True, assign_on_move=True, rules=[listed("h", "bob")])


@pytest.mark.parametrize(
    ("error", "told"),
    [(WorkerFailed("TooManyPairs", "30,000,000 pairs of record.country", "trace"), "pairs of record.country"), (KeyError(1), "incident")],
)
def test_a_run_that_fails_says_so_and_does_not_hold_up_the_next(office: Office, error: Exception, told: str) -> None:
    waiting(office, 1)

    def fail(_task: Task) -> None:
        office.worker.before = lambda _task: None
        raise error

    office.worker.before = fail
    runs = [office.start(), office.start()]
    office.work()
    found = {run.state: run for run in map(office.stored_run, runs)}
    assert found.keys() == {"FAILED", "SUCCEEDED"}
    assert told in found["FAILED"].failure


@pytest.mark.parametrize(("deaths", "state"), [(MOST_DEATHS - 1, "SUCCEEDED"), (MOST_DEATHS, "FAILED")])
def test_a_run_survives_some_deaths_of_its_worker_but_not_any_number(office: Office, deaths: int, state: str) -> None:
    waiting(office, 1)
    left = [None] * deaths

    def die(_task: Task) -> None:
        if left:
            left.pop()
            raise WorkerKilled("killed")

    office.worker.before = die
    assert office.run().state == state


# Reruns on events


@pytest.mark.parametrize("frees", ["close", "release", "delete"])
def test_capacity_that_becomes_free_starts_a_rerun_of_what_waits_for_it(office: Office, frees: str) -> None:
    office.apply(*leads(everybody(), settings={}))
    office.hire(a_seller("ann", capacity={"total": 1}))
    office.upsert(a_row("L1"), a_row("L2"))
    office.work()
    assert office.record("L2").assignment == "NO_CAPACITY"
    if frees == "close":
        office.upsert(a_row("L1", active=False))
    elif frees == "release":
        office.call(office.assignment.ReleaseRecords, assignment_service_pb2.ReleaseRecordsRequest(record_ids=["L1"]))
    else:
        office.call(RecordService(office.runtime).DeleteRecords, record_service_pb2.DeleteRecordsRequest(record_ids=["L1"]))
    office.work()
    assert office.owner("L2") == "ann"
    (run,) = office.read(lambda tx: tx.runs.page(office.workspace, kinds=["EVENT"]))
    assert (english(run.cause["detail"]), run.counts["assigned"]) == ("somebody has room again", 1)


def test_capacity_that_a_move_frees_starts_a_rerun_too(office: Office) -> None:
    office.apply(*leads(high_and_low(), everybody("low", listed("l", "ann")), settings={}))
    office.hire(a_seller("ann", capacity={"total": 1}), a_seller("bob"))
    office.upsert(a_row("L1", {"score": 1}), a_row("L2", {"score": 1}))
    office.work()
    office.lead("L1", score=9)
    office.work()
    assert office.owners("L1", "L2") == ["bob", "ann"]


def test_an_event_does_not_wake_records_that_wait_for_a_run(office: Office) -> None:
    office.apply(*leads(everybody(**WAITS), settings={}))
    office.hire(a_seller("ann"))
    office.lead("L1")
    office.lead("L2")
    office.work()
    office.call(office.assignment.AssignRecords, assignment_service_pb2.AssignRecordsRequest(record_ids=["L2"], owner=seller_owner("ann")))
    office.upsert(a_row("L2", active=False))
    office.work()
    assert office.record("L1").assignment == "WAITING"


def test_an_event_when_nothing_waits_leaves_no_run_behind(office: Office) -> None:
    office.apply(*leads(everybody(), settings={}))
    office.hire(a_seller("ann"))
    office.lead("L1")
    office.work()
    office.upsert(a_row("L1", active=False))
    office.work()
    assert office.read(lambda tx: tx.runs.page(office.workspace, kinds=["EVENT"])) == []


def test_a_paused_workspace_neither_runs_nor_takes_in_until_it_goes_on(office: Office) -> None:
    office.apply(*leads(everybody(), settings={"paused": True}))
    office.hire(a_seller("ann"))
    office.lead("L1")
    run_id = office.start()
    office.work()
    assert (office.owner("L1"), office.stored_run(run_id).state) == ("", "PENDING")
    office.apply(*leads(everybody(), settings={}))
    office.work()
    assert (office.owner("L1"), office.stored_run(run_id).state) == ("ann", "SUCCEEDED")
