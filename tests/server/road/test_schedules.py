"""Schedules: a firing becomes one run, and what becomes of firings that were missed, overlap, or come while all is paused."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from reallot.server.schedules import ScheduleLoop, fire
from reallot.storage.entities import Run, ScheduleState
from reallot.v1 import assignment_service_pb2
from support.api import resource
from support.office import HOUR_US, NO_RERUNS, Office, everybody, leads
from support.rows import a_seller

DAY_US = 24 * HOUR_US


def schedule(office: Office, schedule_id: str = "daily", **parts: Any) -> None:
    """Save a schedule that fires at 09:00 UTC; it is Monday 08:00."""
    office.apply(resource(schedule={"schedule_id": schedule_id, "cron": "0 9 * * *", "time_zone": "UTC", **parts}))


def pass_time(office: Office, hours: float) -> None:
    """Let time pass at once, and what is then due fire."""
    now_us = office.clock.now_us() + int(hours * HOUR_US)
    office.runner.run(office.clock.set(now_us))
    config = office.config
    for schedule_id in sorted(office.read(lambda tx: tx.schedules.all(office.workspace))):
        office.write(lambda tx, name=schedule_id: fire(tx, config, name, now_us))


def runs(office: Office) -> list[Run]:
    """Return the scheduled runs, oldest first."""
    return office.read(lambda tx: tx.runs.page(office.workspace, kinds=["SCHEDULED"]))[::-1]


def firings(office: Office) -> list[float]:
    """Return the firings of the runs in hours since Monday 00:00."""
    return [(run.firing_us - 1_772_409_600_000_000) / HOUR_US for run in runs(office) if run.firing_us]


def finish(office: Office) -> None:
    office.work()
    assert all(run.state == "SUCCEEDED" for run in runs(office))


@pytest.fixture
def office(office: Office) -> Iterator[Office]:
    """A workspace whose schedules end with the test: the loop fires those of all."""
    office.runner.run(office.clock.set(1_772_438_400_000_000))
    office.apply(*leads(everybody()))
    yield office
    for workspace, state in office.read(lambda tx: tx.schedules.next_due()):
        office.write(lambda tx, w=workspace, s=state: tx.schedules.delete(w, s.schedule_id))


@pytest.mark.parametrize(("hours", "fired"), [(0.99, []), (1, [9.0])])
def test_a_schedule_fires_when_it_is_due_and_not_before(office: Office, hours: float, fired: list[float]) -> None:
    schedule(office)
    pass_time(office, hours)
    assert firings(office) == fired


def test_a_paused_schedule_does_not_fire(office: Office) -> None:
    schedule(office, state="RESOURCE_STATE_PAUSED")
    pass_time(office, 48)
    assert firings(office) == []


def test_a_firing_that_has_its_run_gets_no_second(office: Office) -> None:
    schedule(office)
    pass_time(office, 1)
    finish(office)
    (run,) = runs(office)
    office.write(lambda tx: tx.schedules.put(office.workspace, ScheduleState("daily", run.firing_us, None)))
    pass_time(office, 0)
    assert firings(office) == [9.0]


def test_the_run_of_a_schedule_takes_what_the_schedule_says(office: Office) -> None:
    office.apply(*leads(everybody(on_arrival="ON_ARRIVAL_WAIT")))
    office.hire(a_seller("ann"))
    schedule(office, selection={"record_type": "lead", "filter": "record.score > 1"}, limit=1)
    for score in (1, 2, 3):
        office.lead(f"L{score}", score=score)
    office.work()
    pass_time(office, 1)
    finish(office)
    assert office.owners("L1", "L2", "L3") == ["", "ann", ""]
    (run,) = runs(office)
    assert (run.cause["kind"], run.cause["schedule_id"], run.counts["assigned"]) == ("SCHEDULE", "daily", 1)


@pytest.mark.parametrize(
    ("policy", "hours", "fired"),
    [
        ({}, 74, [81.0]),
        ({"missed": "MISSED_POLICY_NONE"}, 74, []),
        ({"missed": "MISSED_POLICY_ONE_CATCH_UP", "missed_within": "3600s"}, 74.5, []),
        ({"missed": "MISSED_POLICY_ONE_CATCH_UP", "missed_within": "7200s"}, 74.5, [81.0]),
        ({"missed": "MISSED_POLICY_NONE"}, 25, [33.0]),
    ],
)
def test_of_missed_firings_at_most_the_last_is_made_up_for(
    office: Office, policy: dict[str, str], hours: float, fired: list[float]
) -> None:
    schedule(office, **policy)
    pass_time(office, hours)
    assert firings(office) == fired


def test_a_schedule_that_was_missed_for_long_goes_on_from_now(office: Office) -> None:
    schedule(office, cron="* * * * *")
    pass_time(office, 24 * 365 + 0.5 / 60)
    assert firings(office) == [8 + 24 * 365]
    (state,) = office.read(lambda tx: tx.schedules.all(office.workspace)).values()
    assert state.next_us == office.clock.now_us() + 30_000_000


def test_a_schedule_whose_last_firing_was_missed_has_no_next(office: Office) -> None:
    schedule(office, end_time="2026-03-03T00:00:00Z", missed="MISSED_POLICY_NONE")
    pass_time(office, 100)
    (state,) = office.read(lambda tx: tx.schedules.all(office.workspace)).values()
    assert (firings(office), state.next_us) == ([], None)


@pytest.mark.parametrize(
    ("policy", "states"),
    [
        ({}, ["PENDING"]),
        ({"overlap": "OVERLAP_POLICY_QUEUE_ONE"}, ["PENDING"]),
        ({"overlap": "OVERLAP_POLICY_CANCEL_OTHER"}, ["PENDING", "PENDING"]),
    ],
)
def test_a_firing_while_the_last_run_waits(office: Office, policy: dict[str, str], states: list[str]) -> None:
    schedule(office, **policy)
    pass_time(office, 1)
    pass_time(office, 24)
    assert [run.state for run in runs(office)] == states
    assert [run.cancel_requested for run in runs(office)][:-1] == [True] * (len(states) - 1)


@pytest.mark.parametrize(("policy", "waiting"), [({}, 0), ({"overlap": "OVERLAP_POLICY_QUEUE_ONE"}, 1)])
def test_behind_a_run_at_work_one_may_queue(office: Office, policy: dict[str, str], waiting: int) -> None:
    schedule(office, **policy)
    pass_time(office, 1)
    office.while_planning(lambda: [pass_time_of_the_loop(office, 24), pass_time_of_the_loop(office, 24)])
    office.work()
    assert [run.state for run in runs(office)] == ["SUCCEEDED"] * (1 + waiting)


def pass_time_of_the_loop(office: Office, hours: int) -> None:
    """As `pass_time`, for use inside the event loop: the clock itself stays."""
    now_us = office.clock.now_us() + hours * HOUR_US
    config = office.config
    state = office.read(lambda tx: tx.schedules.all(office.workspace))["daily"]
    office.write(lambda tx: fire(tx, config, "daily", max(now_us, state.next_us or 0)))


# The loop


async def fired_by_loop(office: Office, until_us: int, servers: int = 1) -> None:
    """Let the loops of some servers, each of which believes that the workspace is its own, live through time up to an instant."""
    loops = [ScheduleLoop(office.runtime) for _ in range(servers)]
    task = asyncio.gather(*(loop.run_forever() for loop in loops))

    async def settled() -> None:
        while await office.runtime.read(_overdue(office)) or any(loop.busy for loop in loops):
            await asyncio.sleep(0)

    office.clock.settle_with(settled)
    await office.clock.advance_to(until_us)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    office.clock.settle_with(_nothing)


def _overdue(office: Office) -> Any:
    now_us = office.clock.now_us()

    def read(tx: Any) -> bool:
        paused = office.runtime.configs.of(tx, office.workspace).settings.paused
        return not paused and any((s.next_us or now_us + 1) <= now_us for s in tx.schedules.all(office.workspace).values())

    return read


async def _nothing() -> None:
    """Be at rest."""


@pytest.mark.parametrize("servers", [1, 3])
def test_a_week_that_is_lived_through_fires_every_day_once_over_any_number_of_servers(office: Office, servers: int) -> None:
    schedule(office, overlap="OVERLAP_POLICY_CANCEL_OTHER")
    office.runner.run(fired_by_loop(office, office.clock.now_us() + 7 * DAY_US, servers))
    assert firings(office) == [9.0 + 24 * day for day in range(7)]


def test_one_that_fires_often_does_not_wait_for_one_that_fires_seldom(office: Office) -> None:
    schedule(office, overlap="OVERLAP_POLICY_CANCEL_OTHER")
    schedule(office, "seldom", cron="30 9 * * FRI", overlap="OVERLAP_POLICY_CANCEL_OTHER")
    office.runner.run(fired_by_loop(office, office.clock.now_us() + 5 * DAY_US))
    assert firings(office) == [9.0, 33.0, 57.0, 81.0, 105.0, 105.5]


def test_a_paused_workspace_does_not_keep_others_from_firing(office: Office) -> None:
    schedule(office, "first")
    office.apply(resource(settings={"paused": True}))
    paused = office.workspace
    office.move()
    office.apply(*leads(everybody()))
    schedule(office, "second")
    office.runner.run(fired_by_loop(office, office.clock.now_us() + 2 * HOUR_US))
    assert firings(office) == [9.0]
    office.workspace = paused
    assert firings(office) == []
    office.apply(resource(settings=NO_RERUNS))


def test_a_cancelled_run_of_a_schedule_leaves_room_for_the_next(office: Office) -> None:
    schedule(office)
    pass_time(office, 1)
    office.call(office.assignment.CancelRun, assignment_service_pb2.CancelRunRequest(run_id=runs(office)[0].run_id))
    pass_time(office, 24)
    assert [run.state for run in runs(office)] == ["CANCELLED", "PENDING"]


def test_a_schedule_that_is_changed_while_it_is_due_fires_by_its_new_times_alone(office: Office) -> None:
    schedule(office)
    office.runner.run(office.clock.set(office.clock.now_us() + HOUR_US))
    # It is 09:00 and nothing has looked yet; saved again, the firing of this very minute is kept or goes with its time.
    schedule(office, cron="0 10 * * *")
    pass_time(office, 0)
    assert firings(office) == []
    pass_time(office, 1)
    finish(office)
    assert firings(office) == [10.0]


def test_a_schedule_that_is_saved_in_its_minute_fires_once(office: Office) -> None:
    schedule(office)
    pass_time(office, 1)
    finish(office)
    schedule(office, limit=7)
    pass_time(office, 0)
    finish(office)
    assert firings(office) == [9.0]
