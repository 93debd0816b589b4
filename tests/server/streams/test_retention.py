"""What is kept for how long, and what whoever comes too late is told."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from reallot.server import keeper
from reallot.storage.entities import Decision, StoredAnswer, Transition
from reallot.v1 import event_service_pb2 as pb
from support.api import refusal, resource
from support.rows import a_record
from support.station import Station

Open = Callable[..., Any]


async def numbers(station: Station, **parts: Any) -> list[int]:
    answer = await station.events.ListEvents(pb.ListEventsRequest(page_size=1_000, **parts))
    return [event.number for event in answer.events]


async def decide(station: Station, *names: str) -> None:
    made = [Transition(None, a_record(name), decision=Decision(name, station.clock.now_us(), None, "ASSIGNED", "")) for name in names]
    await station.runtime.write("default", lambda tx: tx.commit_records("default", made))


def decided(station: Station, *names: str) -> list[str]:
    return [name for name in names if station.db.read(lambda tx, n=name: tx.decisions.of_record("default", n, None, 9))]


async def test_events_are_kept_for_thirty_days_and_decisions_for_ninety(open_station: Open) -> None:
    async with open_station() as station:
        await station.tell("a")
        await decide(station, "a")
        await station.pass_days(30)
        await station.tell("b")
        await decide(station, "b")
        assert await numbers(station) == [1, 2]
        await station.pass_days(0.1)
        assert await numbers(station) == [2]
        await station.pass_days(60)
        assert (await numbers(station), decided(station, "a", "b")) == ([], ["b"])


async def test_a_workspace_says_how_long_and_what_is_younger_stays(open_station: Open) -> None:
    async with open_station() as station:
        await station.client.config.apply([resource(settings={"retention": {"events_days": 2, "decisions_days": 0}})])
        await decide(station, "old")
        for name in "abcd":
            await station.tell(name, notify=("ann",))
            await station.pass_days(1)
        assert await numbers(station) == [3, 4]
        assert station.db.read(lambda tx: tx.events.unread("default", "ann")) == 2
        await station.pass_days(10_000)
        assert decided(station, "old") == ["old"]


@pytest.mark.parametrize("days", [-1, 36_501])
async def test_a_time_that_cannot_be_is_refused(open_station: Open, days: int) -> None:
    async with open_station() as station:
        request = {"retention": {"events_days": days, "decisions_days": 5}}
        with pytest.raises(Exception, match="between 0") as caught:
            await station.client.config.apply([resource(settings=request)])
        assert [v.field for v in caught.value.violations] == ["resources[0].settings.retention.events_days"]


async def test_other_writes_pass_while_much_is_removed(open_station: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "BATCH", 3)
    async with open_station() as station:
        await station.tell(*(f"r{n}" for n in range(10)))
        await decide(station, *(f"r{n}" for n in range(7)))
        kept_from: list[int] = []
        station.db.on_commit(lambda signals: kept_from.append(station.db.read(lambda tx: tx.events.first_retained("default"))))
        await station.clock.set(station.clock.now_us() + 91 * 86_400_000_000)
        removing = asyncio.create_task(station.keeper.look())
        written = 0
        while not removing.done():
            # Each write waits for the one before; those of the keeper come in between.
            await station.tell("fresh")
            written += 1
        assert await removing
        assert any(1 < first < 11 for first in kept_from)
        assert await numbers(station) == list(range(11, 11 + written))
        assert decided(station, *(f"r{n}" for n in range(7))) == []
        assert not await station.keeper.look()


async def test_old_answers_go_too(open_station: Open) -> None:
    async with open_station() as station:
        kept = [StoredAnswer("once", "m", "h", b"", station.clock.now_us())]
        await station.runtime.write("elsewhere", lambda tx: tx.requests.keep("elsewhere", kept))
        await station.pass_days(1)
        assert station.db.read(lambda tx: tx.requests.find("elsewhere", ["once"]))
        await station.pass_days(0.1)
        assert not station.db.read(lambda tx: tx.requests.find("elsewhere", ["once"]))


async def test_a_server_that_does_not_work_the_workspace_leaves_it_alone(open_station: Open) -> None:
    async with open_station() as station:
        await station.tell("a")
        object.__setattr__(station.runtime, "leases", _Nobodys())
        await station.pass_days(99)
        assert await numbers(station) == [1]


class _Nobodys:
    def of(self, workspace: str) -> None:
        return None


@pytest.fixture
async def too_late(open_station: Open) -> Any:
    """A log of which nothing is left, and cursors from before."""
    async with open_station() as station:
        await station.hire("ann")
        before = (await station.events.ListEvents(pb.ListEventsRequest())).cursor
        await station.tell("a", "b", "c", notify=("ann",))
        page = await station.events.ListEvents(pb.ListEventsRequest(page_size=1))
        notices = await station.events.ListNotifications(pb.ListNotificationsRequest(seller_id="ann", page_size=1))
        end = (await station.events.ListEvents(pb.ListEventsRequest())).cursor
        await station.pass_days(31)
        yield station, before, page, notices, end


async def test_whoever_comes_too_late_is_told_what_is_kept(too_late: Any) -> None:
    station, before, page, notices, _ = too_late
    refused = [
        await refusal(station.events.ListEvents(pb.ListEventsRequest(cursor=before))),
        await refusal(station.events.Watch(pb.WatchRequest(cursor=before)).read()),
        await refusal(station.events.ListEvents(pb.ListEventsRequest(cursor=page.cursor))),
        await refusal(station.events.ListEvents(pb.ListEventsRequest(page_size=1, page_token=page.next_page_token))),
        await refusal(station.events.Subscribe(pb.SubscribeRequest(seller_id="ann", cursor=notices.notifications[0].cursor)).read()),
        await refusal(
            station.events.ListNotifications(pb.ListNotificationsRequest(seller_id="ann", page_size=1, page_token=notices.next_page_token))
        ),
    ]
    assert {(r.code, r.reason) for r in refused} == {("OUT_OF_RANGE", "CURSOR_EXPIRED")}
    assert [r.metadata for r in refused] == [{"after": str(n), "oldest": "4"} for n in (0, 0, 1, 1, 1, 1)]


async def test_whoever_has_heard_everything_goes_on(too_late: Any) -> None:
    station, *_, end = too_late
    assert not (await station.events.ListEvents(pb.ListEventsRequest(cursor=end))).events
    await station.tell("d", notify=("ann",))
    stream = station.events.Watch(pb.WatchRequest(cursor=end))
    assert (await stream.read()).event.record_id == "d"
    stream.cancel()
    listed = await station.events.ListNotifications(pb.ListNotificationsRequest(seller_id="ann"))
    assert [n.number for n in listed.notifications] == [4]
