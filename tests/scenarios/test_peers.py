"""Scenarios from systems that do the same job: runs, rotation, streams, schedules."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format

from reallot.clients import AsyncClient, ReallotError, Record, Seller
from reallot.v1 import config_pb2, config_service_pb2, event_pb2, event_service_pb2, run_pb2

from world import Make, World, a_lead, a_rule, a_segment, kinds, lead_type, quiet_settings, served

PATIENCE_S = 20


def a_team(world: World, policy: str = "ROUND_ROBIN", **parts: Any) -> None:
    segment = a_segment("leads", a_rule("all", policy), **parts)
    world.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[segment])


def test_o7_a_run_takes_open_records_without_an_owner_only(world: Make) -> None:
    here = world()
    a_team(here, on_arrival="ON_ARRIVAL_WAIT")
    here.sellers(Seller("ana"), Seller("ben"))
    here.write(
        Record("won", "lead", active=False), Record("lost", "lead", active=False), Record("owned", "lead", owner="ben"), a_lead("open")
    )
    run = here.run()
    assert here.owners("won", "lost", "owned") == ["", "", "ben"]
    assert here.owner("open") == "ana"
    assert (run.counts.considered, run.counts.assigned) == (1, 1)


def test_o8_a_used_up_quota_gives_an_empty_result(world: Make) -> None:
    here = world()
    a_team(here, on_arrival="ON_ARRIVAL_WAIT")
    here.sellers(Seller("ana", capacity=0))
    here.write(a_lead("a"))
    run = here.run()
    assert (run.state, run.counts.assigned, run.failure) == (run_pb2.RUN_STATE_SUCCEEDED, 0, "")
    assert here.status("a") == "NO_CAPACITY"


def test_f5_a_condition_that_never_holds_gives_to_nobody(world: Make) -> None:
    here = world()
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", a_rule("never", condition="false"))])
    here.sellers(Seller("ana"))
    here.write(a_lead("a"))
    assert (here.owner("a"), here.status("a")) == ("", "NO_RULE_MATCHED")


def test_f6_an_assignment_is_released_when_its_condition_becomes_true(world: Make) -> None:
    here = world()
    rule = a_rule("all", release_when='record.stage == "stale"')
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", rule)])
    here.sellers(Seller("ana"))
    here.write(a_lead("a", stage="fresh"))
    assert here.owner("a") == "ana"
    here.write(Record("a", "lead", {"stage": "stale"}))
    assert (here.owner("a"), here.status("a"), here.loads()) == ("", "WAITING", {"ana": 0})
    assert kinds(here.events(record_ids=["a"])) == ["CREATED", "ASSIGNED", "UNASSIGNED"]
    assert [event_pb2.EventKind.Name(n.event.kind) for n in here.notices("ana")] == ["EVENT_KIND_ASSIGNED", "EVENT_KIND_UNASSIGNED"]


def test_f1_round_robin_passes_over_a_seller_who_left(world: Make) -> None:
    here = world()
    a_team(here)
    here.sellers(*(served(f"u{n}", n, f"0{n}:00") for n in (1, 2, 3)))
    here.write(*(a_lead(f"r{n}") for n in (1, 2, 3)))
    here.write(a_lead("r4"))
    assert here.owners("r1", "r2", "r3", "r4") == ["u1", "u2", "u3", "u1"]
    here.sellers(Seller("u2", assignable=False))
    here.write(a_lead("r5"))
    assert here.owner("r5") == "u3"


def test_f2_load_balancing_fills_the_gap_that_closing_leaves(world: Make) -> None:
    here = world()
    a_team(here, "LOAD_BALANCING")
    here.sellers(*(Seller(name, capacity=50) for name in "abc"))
    here.write(*(a_lead(f"r{n:02d}") for n in range(30)))
    assert here.loads() == {"a": 10, "b": 10, "c": 10}
    mine = [r.record_id for r in here.client.records.list() if r.owner.seller_id == "b"][:5]
    here.write(*(Record(name, "lead", active=False) for name in mine))
    assert here.loads() == {"a": 10, "b": 5, "c": 10}
    here.write(*(a_lead(f"s{n}") for n in range(5)))
    assert here.loads() == {"a": 10, "b": 10, "c": 10}


def test_c1_a_run_keeps_its_size(world: Make) -> None:
    here = world()
    a_team(here, on_arrival="ON_ARRIVAL_WAIT")
    here.sellers(Seller("ana"))
    here.write(*(a_lead(f"r{n}") for n in range(3)))
    assert here.run(limit=2).counts.assigned == 2
    assert [r.record_id for r in here.client.records.list(unowned=True)] == ["r2"]


def test_c2_nobody_available_means_nothing_is_assigned(world: Make) -> None:
    here = world("2026-03-07T12:00")
    rule = a_rule("all", available_within="0s")
    waits = a_segment("leads", rule, on_arrival="ON_ARRIVAL_WAIT")
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[waits])
    here.sellers(Seller("ana", hours="Mon-Fri 08:00-17:00", zone="UTC"))
    here.write(a_lead("a"))
    assert here.run().counts.assigned == 0
    assert here.status("a") == "NO_AVAILABILITY"
    assert here.record("a").assignment.HasField("overdue_time")


@pytest.mark.parametrize(("age_by", "first"), [("AGE_BY_WAITING", "early-waiter"), ("AGE_BY_CREATED", "old")])
def test_c5_age_is_counted_as_the_workspace_says(world: Make, age_by: str, first: str) -> None:
    here = world("2026-03-05T08:00")
    segment = a_segment("leads", a_rule(), on_arrival="ON_ARRIVAL_WAIT")
    here.apply(settings=quiet_settings(age_by=age_by), record_types=[lead_type()], segments=[segment])
    here.sellers(Seller("ana"))
    here.write(a_lead("early-waiter", "2026-03-02T00:00"))
    here.advance("2026-03-05T10:00")
    here.write(a_lead("old", "2026-03-01T00:00"))
    here.run(limit=1)
    assert [r.record_id for r in here.client.records.list() if r.HasField("owner")] == [first]


@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [
        (served("a", 2, "09:00"), served("b", 1, "08:00"), "b"),
        (served("a", 2, "09:00"), Seller("b"), "b"),
        (served("a", 2, "09:00", priority=80), Seller("b"), "a"),
        (served("a", 2, "09:00", priority=80), served("b", 1, "08:00", priority=80), "b"),
    ],
    ids=["l1-longest-ago", "l1-never-served", "l2-priority", "l2-tie"],
)
def test_l1_l2_who_comes_first(world: Make, first: Seller, second: Seller, chosen: str) -> None:
    here = world()
    a_team(here)
    here.sellers(first, second)
    here.write(a_lead("r"))
    assert here.owner("r") == chosen


def followed(world: World, wanted: int, during: Callable[[AsyncClient], Any], **filter_: Any) -> list[event_pb2.Event]:
    """Follow from now, do something, and return the first events."""

    async def work() -> list[event_pb2.Event]:
        client = world.client.inner
        stream = client.stubs.events.Watch(
            event_service_pb2.WatchRequest(workspace=client.workspace, filter=event_service_pb2.EventFilter(**filter_), snapshot=True)
        )
        async for answer in stream:
            if answer.WhichOneof("item") == "snapshot_end":
                break
        task = asyncio.create_task(asyncio.to_thread(during, client))
        found = []
        async with asyncio.timeout(PATIENCE_S):
            async for answer in stream:
                if answer.WhichOneof("item") == "event":
                    found.append(answer.event)
                if len(found) == wanted:
                    break
        await task
        stream.cancel()
        return found

    return world.client.run(work())


def test_w1_each_follower_gets_its_records_in_order(world: Make) -> None:
    here = world()
    a_team(here, on_arrival="ON_ARRIVAL_WAIT")
    here.write(*(a_lead(name) for name in ("a", "b", "c")))

    def changes(_: AsyncClient) -> None:
        for n in range(4):
            here.write(*(a_lead(name, stage=f"s{n}") for name in ("a", "b", "c")))

    both = followed(here, 8, changes, record_ids=["a", "b"])
    assert [e.record_id for e in both] == ["a", "b"] * 4
    assert [e.after.fields["stage"].text for e in both if e.record_id == "a"] == ["s0", "s1", "s2", "s3"]
    numbers = [e.number for e in both]
    assert numbers == sorted(set(numbers))
    assert len([e for e in here.events(record_ids=["a", "b"]) if e.number > both[0].number - 1]) == 8


@pytest.mark.parametrize("seen", [1, 2], ids=["from the first event", "from the second"])
def test_w3_following_goes_on_from_a_cursor(world: Make, seen: int) -> None:
    here = world()
    a_team(here, on_arrival="ON_ARRIVAL_WAIT")
    here.write(a_lead("a"))
    listed = here.events()
    here.write(a_lead("a", stage="one"))
    here.write(a_lead("a", stage="two"))
    expected = [e.number for e in here.events() if e.number > listed[seen - 1].number]

    async def follow() -> list[int]:
        found: list[int] = []
        async with asyncio.timeout(PATIENCE_S):
            async for event in here.client.inner.events.watch(cursor=listed[seen - 1].cursor):
                found.append(event.number)
                if len(found) == len(expected):
                    break
        return found

    assert here.client.run(follow()) == expected


def test_w6_owners_come_and_go_in_events(world: Make) -> None:
    here = world()
    a_team(here)
    here.sellers(Seller("ana"), Seller("ben"))
    here.write(a_lead("a"))
    here.give("ben", "a")
    here.release("a")
    here.run()
    assert kinds(here.events(owner_changed=True)) == ["ASSIGNED", "REASSIGNED", "UNASSIGNED", "ASSIGNED"]


def test_k2_k3_a_filter_tells_who_entered_changed_and_left(world: Make) -> None:
    here = world()
    moves = {"accepts_moves": True, "assign_on_move": True}
    segments = [
        a_segment("big", condition="record.revenue >= 100.0", priority=1, **moves),
        a_segment("small", condition="record.revenue < 100.0", priority=2, **moves),
    ]
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=segments)
    here.write(a_lead("a", revenue=1.0))
    here.write(a_lead("a", revenue=500.0))
    here.write(a_lead("a", stage="warm"))
    here.write(a_lead("a", revenue=2.0))
    matches = [event_pb2.Match.Name(e.match).removeprefix("MATCH_") for e in here.events(segment_ids=["big"])]
    # The write of revenue 2 is a change within the segment; the move out of it follows.
    assert matches == ["ENTERED", "CHANGED", "CHANGED", "LEFT"]


def schedules(world: World, **parts: Any) -> None:
    parts = {"cron": "0 6 * * *"} | parts
    schedule = {"schedule_id": "daily", "selection": {"record_type": "lead"}} | {k: v for k, v in parts.items() if v is not None}
    segment = a_segment("leads", a_rule(), on_arrival="ON_ARRIVAL_WAIT")
    world.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[segment], schedules=[schedule])


@pytest.mark.parametrize(
    ("until", "parts", "runs"),
    [("05:59", {}, 0), ("06:00", {}, 1), ("06:00", {"state": "RESOURCE_STATE_PAUSED"}, 0)],
    ids=["not due", "due", "paused"],
)
def test_s1_a_schedule_fires_when_it_is_due(world: Make, until: str, parts: dict[str, str], runs: int) -> None:
    here = world("2026-03-05T05:00")
    schedules(here, **parts)
    here.advance(f"2026-03-05T{until}")
    assert len(here.runs()) == runs


@pytest.mark.parametrize(("cron", "position"), [("61 6 * * *", "field 1"), ("0 0 31 2 *", "never fires"), ("0 6 * *", "4 fields")])
def test_s4_an_impossible_schedule_is_refused_with_the_position(world: Make, cron: str, position: str) -> None:
    here = world()
    with pytest.raises(ReallotError, match=position) as caught:
        schedules(here, cron=cron)
    assert caught.value.reason == "INVALID_SCHEDULE"
    assert caught.value.violations[0].field.endswith("schedule.cron")
    assert here.client.stubs.config.Export(config_service_pb2.ExportRequest()).resources == []


def test_s5_a_firing_becomes_one_run_however_often_the_clock_passes_it(world: Make) -> None:
    here = world("2026-03-05T05:00")
    schedules(here)
    here.advance("2026-03-05T06:00")
    here.jump("2026-03-05T05:00")
    here.advance("2026-03-05T07:00")
    assert [run.firing_time.ToDatetime().hour for run in here.runs()] == [6]


def next_time(world: World, **recurrence: Any) -> str:
    """When a schedule that is saved now would fire first."""
    schedule = json_format.ParseDict({"schedule_id": "daily", **recurrence}, config_pb2.Schedule())
    answer = world.client.stubs.config.PreviewSchedule(config_service_pb2.PreviewScheduleRequest(schedule=schedule, count=1))
    return str(answer.firings[0].ToJsonString())


@pytest.mark.parametrize(("seconds", "first"), [("68400s", "2020-11-03T05:00:00Z"), ("172800s", "2020-11-04T10:00:00Z")])
def test_o12_an_interval_counts_from_when_it_was_saved(world: Make, seconds: str, first: str) -> None:
    assert next_time(world("2020-11-02T10:00"), every={"duration": seconds}) == first


@pytest.mark.parametrize(("asked", "first"), [("09:31", "2021-01-04T09:20:00Z"), ("09:20", "2020-12-28T09:20:00Z")])
def test_s13_a_cron_fires_next_at_its_minute(world: Make, asked: str, first: str) -> None:
    assert next_time(world(f"2020-12-28T{asked}"), cron="20 9 * * 1") == first
