"""What followers hear: once, in order, from where they say; and a list first, where they ask for one or events are missing."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reallot.clients import Gap, SnapshotEnd
from reallot.server import streams as server_streams
from reallot.server.feeds import EventFeed
from reallot.server.wire import embedded
from reallot.storage import Signal
from reallot.storage.entities import Event, EventDraft, Owner, OwnerKind, Transition
from reallot.v1 import event_pb2, record_pb2
from reallot.v1 import event_service_pb2 as pb
from support.api import refusal
from support.rows import a_record
from support.station import PATIENCE_S, Station, taken

Open = Callable[..., Any]


async def own(station: Station, seller: str, *record_ids: str) -> None:
    """Store records of a seller, without events."""
    owner = Owner(OwnerKind.SELLER, seller) if seller else None
    made = [Transition(None, a_record(name, fields={}, owner=owner)) for name in record_ids]
    await station.runtime.write("default", lambda tx: tx.commit_records("default", made))


def shown(items: list[Any]) -> list[Any]:
    """Return numbers of events and notices, ids of records, "gap" and "end"."""
    names = {Gap: "gap", SnapshotEnd: "end"}
    found: list[Any] = []
    for item in items:
        found.append(item.record_id if isinstance(item, record_pb2.Record) else names.get(type(item)) or item.number)
    return found


async def test_whoever_follows_from_now_has_a_cursor_at_once(open_station: Open) -> None:
    async with open_station() as station:
        await station.hire("ann")
        for stream in (station.events.Watch(pb.WatchRequest()), station.events.Subscribe(pb.SubscribeRequest(seller_id="ann"))):
            assert (await stream.read()).heartbeat.cursor
            stream.cancel()


async def test_followers_of_one_filter_get_the_same_bytes_and_others_what_they_ask_for(open_station: Open) -> None:
    async with open_station() as station:
        await station.hire("ann")
        filters: list[dict[str, Any]] = [{}, {}, {"record_ids": ["b", "c"]}, {"kinds": [event_pb2.EVENT_KIND_CREATED]}]
        method = "/reallot.v1.EventService/Watch"
        watch = station.client.channel.unary_stream(method, request_serializer=pb.WatchRequest.SerializeToString)
        streams = [watch(pb.WatchRequest(filter=pb.EventFilter(**wanted))) for wanted in filters]
        notices = station.client.events.subscribe("ann", unread_first=True)
        for stream in streams:
            await stream.read()
        assert (station.hub.followers, station.hub.channels) == (4, 3)
        await station.tell("a", "b", notify=("ann",))
        await station.tell("c")
        heard = [[await stream.read() for _ in range(count)] for stream, count in zip(streams, (3, 3, 2, 0), strict=True)]
        assert heard[0] == heard[1]
        events = [[pb.WatchResponse.FromString(raw).event for raw in some] for some in heard]
        assert [[e.record_id for e in some] for some in events] == [["a", "b", "c"]] * 2 + [["b", "c"], []]
        assert shown(await taken(notices, 2)) == [1, 2]
        listed = (await station.events.ListEvents(pb.ListEventsRequest())).events
        assert events[0] == list(listed)
        for stream in streams:
            stream.cancel()


async def test_a_notice_is_heard_as_it_is_listed(open_station: Open) -> None:
    async with open_station() as station:
        await station.hire("ann")
        heard = station.client.events.subscribe("ann", unread_first=True)
        await station.tell("old", notify=("ann",))
        first = asyncio.ensure_future(taken(heard, 3))
        await station.until(lambda: station.hub.followers == 1)
        await station.tell("a", "b", notify=("ann", "ben"), sentence="told")
        await station.sum_up("ann")
        found = [*await first, *await taken(heard, 1)]
        listed = await station.events.ListNotifications(pb.ListNotificationsRequest(seller_id="ann"))
        assert found == list(listed.notifications)
        assert found[3].digest.gained == 30


async def test_whoever_is_behind_catches_up_from_the_table(open_station: Open) -> None:
    """More than is kept in memory, and more than a page of the table."""
    async with open_station(follow_buffer=100) as station:
        await station.tell(*(f"r{n}" for n in range(2_500)))
        follower = station.client.events.watch(cursor=beginning(station))
        found = await taken(follower, 1_200)
        await station.tell(*(f"s{n}" for n in range(300)))
        found += await taken(follower, 1_600)
        assert shown(found) == list(range(1, 2_801))


async def test_a_snapshot_leaves_no_gap_for_what_is_written_meanwhile(open_station: Open) -> None:
    async with open_station() as station:
        await own(station, "", *(f"r{n:04d}" for n in range(1_500)))
        follower = station.client.events.watch(snapshot=True)
        first = await taken(follower, 1)
        # The second page of the list is read after this.
        await station.tell("r0000", "r1499")
        found = first + await taken(follower, 1_502)
        assert shown(found) == [*(f"r{n:04d}" for n in range(1_500)), "end", 1, 2]


async def test_a_seller_lists_what_is_his_and_follows(open_station: Open) -> None:
    async with open_station() as station:
        await station.hire("ann", "ben")
        await own(station, "ann", "a1", "a2")
        await own(station, "ben", "b1")
        await station.tell("a1", notify=("ann",))
        follower = station.client.events.subscribe("ann", snapshot=True)
        assert shown(await taken(follower, 3)) == ["a1", "a2", "end"]
        await station.tell("a2", notify=("ann",))
        assert shown(await taken(follower, 1)) == [2]


@pytest.mark.parametrize("method", ["Watch", "Subscribe"])
async def test_a_snapshot_takes_no_cursor(open_station: Open, method: str) -> None:
    async with open_station() as station:
        await station.hire("ann")
        request: Any = pb.WatchRequest(snapshot=True) if method == "Watch" else pb.SubscribeRequest(seller_id="ann", snapshot=True)
        request.cursor = "x"
        found = await refusal(getattr(station.events, method)(request).read())
        assert (found.code, found.fields) == ("INVALID_ARGUMENT", ("snapshot",))


@pytest.fixture
async def long_gone(open_station: Open) -> Any:
    """A station, and the cursors of a back end and a seller from before what is kept."""
    async with open_station() as station:
        await station.hire("ann")
        await own(station, "ann", "a1", "a2")
        await own(station, "", "nobodys")
        await station.tell("a1", "a2", notify=("ann",))
        streams = (station.client.events.watch(cursor=beginning(station)), station.client.events.subscribe("ann", unread_first=True))
        watched, noticed = [(await taken(stream, 1))[0].cursor for stream in streams]
        for stream in streams:
            await stream.aclose()
        await station.until(lambda: not station.hub.followers)
        await station.clock.set(station.clock.now_us() + 20 * 86_400_000_000)
        await station.tell("a2", notify=("ann",))
        await station.pass_days(20)
        yield station, watched, noticed


def beginning(station: Station) -> str:
    """Return the cursor of a log's beginning."""
    return EventFeed(station.db.database_id, "default", pb.EventFilter()).cursor(0)


async def test_a_follower_who_was_away_for_too_long_lists_again(long_gone: Any) -> None:
    station, watched, noticed = long_gone
    events, notices = station.client.events.watch(cursor=watched), station.client.events.subscribe("ann", cursor=noticed)
    assert shown(await taken(events, 5)) == ["gap", "a1", "a2", "nobodys", "end"]
    # What is kept and was not acknowledged comes, too.
    assert shown(await taken(notices, 5)) == ["gap", "a1", "a2", 3, "end"]
    await station.tell("a1", notify=("ann",))
    assert [shown(await taken(stream, 1)) for stream in (events, notices)] == [[4], [4]]


async def test_who_does_not_want_a_list_hears_of_the_gap_only(long_gone: Any) -> None:
    station, watched, _ = long_gone
    stream = station.client.events.watch(cursor=watched, relist=False)
    assert shown(await taken(stream, 1)) == ["gap"]
    follows = asyncio.ensure_future(taken(stream, 1))
    await station.until(lambda: station.hub.followers == 1)
    await station.tell("later")
    assert shown(await follows) == [4]


async def test_a_follower_who_falls_behind_what_is_kept_is_told(open_station: Open) -> None:
    """The log is cut while he catches up: what is missing is never passed over."""
    async with open_station() as station:
        # More than the connection buffers, so that the second page is read later.
        await station.tell(*(f"r{n}" for n in range(3_000)), sentence="x" * 5_000)
        stream = station.events.Watch(pb.WatchRequest(cursor=beginning(station)))
        assert (await stream.read()).event.number == 1
        await station.pass_days(31)
        assert [(await stream.read()).event.number for _ in range(999)] == list(range(2, 1_001))
        assert (await refusal(stream.read())).reason == "CURSOR_EXPIRED"


async def test_what_is_removed_before_it_was_read_for_the_followers_is_not_passed_over(
    open_station: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reallot.server.streams.POLL_S", 1e6)
    async with open_station() as station:
        stream = station.events.Watch(pb.WatchRequest())
        await stream.read()
        with monkeypatch.context() as unheard:
            unheard.setattr(station.hub, "hear", lambda signals: None)
            await station.tell("a")
            await station.pass_days(31)
        station.hub.hear([Signal("default", "events")])
        assert (await refusal(stream.read())).metadata == {"after": "0", "oldest": "2"}


async def test_who_comes_while_the_log_is_read_for_others_hears_at_once(open_station: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, may_end = threading.Event(), threading.Event()

    def held(*given: Any) -> Any:
        found = frames(*given)
        if found[0] > given[2]:
            reading.set()
            assert may_end.wait(PATIENCE_S)
        return found

    frames = server_streams._frames
    monkeypatch.setattr(server_streams, "_frames", held)
    async with open_station(heartbeat_s=300) as station:
        first = station.events.Watch(pb.WatchRequest())
        await first.read()
        await station.tell("a")
        assert await asyncio.to_thread(reading.wait, PATIENCE_S)
        # Something else is followed, from before what is being read.
        feed = EventFeed(station.db.database_id, "default", pb.EventFilter(record_ids=["a"]))
        second = asyncio.ensure_future(taken(station.client.events.watch(record_ids=["a"], cursor=feed.cursor(0)), 1))
        await station.until(lambda: station.hub.followers == 2)
        await station.events.ListEvents(pb.ListEventsRequest())
        may_end.set()
        assert [(await first.read()).event.number, (await second)[0].number] == [1, 1]


DRAFTS = st.builds(
    EventDraft,
    kind=st.sampled_from(["CREATED", "ASSIGNED"]),
    record_id=st.sampled_from("ab"),
    record_type=st.sampled_from(["lead", "deal"]),
    time_us=st.just(1),
    before=st.sampled_from([None, {}, {"segment_id": "s"}, {"owner": {"seller_id": "ann"}}]),
    after=st.sampled_from([None, {}, {"segment_id": "s"}, {"owner": {"seller_id": "ben"}, "segment_id": "t"}]),
)
FILTERS = st.builds(
    pb.EventFilter,
    kinds=st.lists(st.sampled_from([event_pb2.EVENT_KIND_CREATED, event_pb2.EVENT_KIND_ASSIGNED]), max_size=1),
    record_ids=st.lists(st.sampled_from("ab"), max_size=1),
    record_types=st.lists(st.sampled_from(["lead"]), max_size=1),
    segment_ids=st.lists(st.sampled_from("st"), max_size=2),
    owner_changed=st.booleans(),
)


@given(DRAFTS, FILTERS)
def test_a_filter_takes_what_fits_every_part_of_it(draft: EventDraft, wanted: pb.EventFilter) -> None:
    before, after = draft.before or {}, draft.after or {}
    inside = [state.get("segment_id") in wanted.segment_ids for state in (before, after)]
    fits = (
        (not wanted.kinds or event_pb2.EventKind.Value(f"EVENT_KIND_{draft.kind}") in wanted.kinds)
        and (not wanted.record_ids or draft.record_id in wanted.record_ids)
        and (not wanted.record_types or draft.record_type in wanted.record_types)
        and (not wanted.owner_changed or before.get("owner") != after.get("owner"))
        and (not wanted.segment_ids or any(inside))
    )
    matches = {(True, True): event_pb2.MATCH_CHANGED, (False, True): event_pb2.MATCH_ENTERED, (True, False): event_pb2.MATCH_LEFT}
    expected = (matches[inside[0], inside[1]] if wanted.segment_ids else event_pb2.MATCH_UNSPECIFIED) if fits else None
    assert EventFeed("db", "w", wanted).match(Event(1, draft)) == expected


@given(st.text(max_size=40_000), st.text())
def test_parts_that_are_serialized_already_are_the_message_of_all_of_them(text: str, cursor: str) -> None:
    parts = [event_pb2.Event(record_id=text), event_pb2.Event(cursor=cursor, match=event_pb2.MATCH_LEFT)]
    whole = pb.WatchResponse(event=event_pb2.Event(record_id=text, cursor=cursor, match=event_pb2.MATCH_LEFT))
    assert pb.WatchResponse.FromString(embedded(1, b"".join(part.SerializeToString() for part in parts))) == whole
