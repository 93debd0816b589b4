"""Cursors, heartbeats, cancelled followers: what a stream owes its caller."""

import asyncio
from typing import Any

import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc

from reallot.clients import ReallotError, Seller
from reallot.v1 import event_service_pb2

from world import Make, World, a_lead, a_segment, lead_type, quiet_settings

PATIENCE_S = 20


def a_log(world: World) -> None:
    world.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", on_arrival="ON_ARRIVAL_WAIT")])
    world.sellers(Seller("ana"))
    world.write(a_lead("a"))


def first_answers(world: World, method: str, request: Any, count: int) -> list[Any]:
    async def read() -> list[Any]:
        request.workspace = world.client.inner.workspace
        found = []
        async with asyncio.timeout(PATIENCE_S):
            stream = getattr(world.client.inner.stubs.events, method)(request)
            async for answer in stream:
                found.append(answer)
                if len(found) == count:
                    break
            stream.cancel()
        return found

    return world.client.run(read())


def test_a_quiet_stream_shows_that_it_lives(world: Make) -> None:
    here = world()
    a_log(here)
    request = event_service_pb2.WatchRequest()
    request.heartbeat.FromSeconds(1)
    answer = first_answers(here, "Watch", request, 1)[0]
    assert answer.WhichOneof("item") == "heartbeat"
    assert answer.heartbeat.cursor


def test_a_snapshot_is_followed_by_what_came_after_it(world: Make) -> None:
    here = world()
    a_log(here)
    answers = first_answers(here, "Watch", event_service_pb2.WatchRequest(snapshot=True), 2)
    assert [a.WhichOneof("item") for a in answers] == ["snapshot_record", "snapshot_end"]
    here.write(a_lead("a", stage="later"))
    after = first_answers(here, "Watch", event_service_pb2.WatchRequest(cursor=answers[1].snapshot_end.cursor), 1)
    assert after[0].event.after.fields["stage"].text == "later"


def test_a_cancelled_follower_leaves_no_trace(world: Make) -> None:
    """W12: the server, asked by the standard channelz service, is at work on as many calls as before the followers came."""
    here = world()
    a_log(here)

    async def come_and_go() -> None:
        async with asyncio.timeout(PATIENCE_S):
            before = await calls_at_work(here)
            stubs, workspace = here.client.inner.stubs.events, here.client.inner.workspace
            requests = [event_service_pb2.WatchRequest(workspace=workspace, snapshot=number % 2 > 0) for number in range(6)]
            streams = [stubs.Watch(request) for request in requests]
            streams.append(stubs.Subscribe(event_service_pb2.SubscribeRequest(workspace=workspace, seller_id="ana")))
            for stream in streams:
                await stream.read()
            assert await calls_at_work(here) == before + len(streams)
            for stream in streams:
                stream.cancel()
            while await calls_at_work(here) != before:
                await asyncio.sleep(0)

    here.client.run(come_and_go())
    here.write(a_lead("a", stage="after"))
    numbers = [event.number for event in here.events()]
    assert numbers == sorted(set(numbers))


async def calls_at_work(world: World) -> int:
    """Return the calls that the server is at work on, the one that asks included."""
    stub = channelz_pb2_grpc.ChannelzStub(world.client.inner.channel)
    (server,) = (await stub.GetServers(channelz_pb2.GetServersRequest())).server
    return int(server.data.calls_started - server.data.calls_succeeded - server.data.calls_failed)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [(lambda c: "nonsense", "no cursor"), (lambda c: c[:-6] + "AAAAAA", "cursor"), (lambda c: "", "")],
    ids=["nonsense", "changed", "empty is from now"],
)
def test_cursors_that_are_not_ours_are_refused(world: Make, spoil: Any, text: str) -> None:
    here = world()
    a_log(here)
    cursor = spoil(here.events()[0].cursor)
    request = event_service_pb2.ListEventsRequest(cursor=cursor)
    if not cursor:
        assert here.client.stubs.events.ListEvents(request).events
        return
    with pytest.raises(ReallotError, match=text) as caught:
        here.client.stubs.events.ListEvents(request)
    assert caught.value.reason == "CURSOR_MISMATCH"


def test_a_cursor_of_another_filter_is_refused(world: Make) -> None:
    here = world()
    a_log(here)
    request = event_service_pb2.ListEventsRequest(cursor=here.events()[0].cursor)
    request.filter.owner_changed = True
    with pytest.raises(ReallotError) as caught:
        here.client.stubs.events.ListEvents(request)
    assert caught.value.reason == "CURSOR_MISMATCH"


def test_subscribing_for_somebody_unknown_is_refused(world: Make) -> None:
    here = world()
    a_log(here)
    with pytest.raises(ReallotError) as caught:
        next(here.client.events.subscribe("nobody"))
    assert caught.value.reason == "SELLER_NOT_FOUND"
