"""Followers who do not read, or who leave: what they are told, and that nothing of them stays."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from reallot.clients import AsyncClient
from reallot.server.streams import Channel
from reallot.v1 import event_service_pb2 as pb
from support.station import PATIENCE_S, Station, taken

Open = Callable[..., Any]
LARGE = "x" * 100_000
"""A few of these fill what a connection holds."""


async def rest_of(stream: Any) -> tuple[list[Any], grpc.aio.AioRpcError]:
    """Return what still comes from a stream that fails, and how it fails."""
    found: list[Any] = []
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                found.append((await stream.read()).event)
            except grpc.aio.AioRpcError as error:
                return found, error


async def test_a_follower_who_does_not_read_is_cut_off_and_loses_nothing(open_station: Open) -> None:
    async with open_station(slow_after_s=0.2) as station:
        await station.hire("ann")
        lazy = station.events.Watch(pb.WatchRequest())
        await lazy.read()
        async with AsyncClient(station.address) as other:
            eager = other.stubs.events.Subscribe(pb.SubscribeRequest(seller_id="ann"))
            await eager.read()
            told = 0
            async with asyncio.timeout(PATIENCE_S):
                while station.hub.followers == 2:
                    await station.tell(*("large" for _ in range(9)), sentence=LARGE)
                    await station.tell("small", notify=("ann",))
                    told += 10
                    # Nobody else waits for the one who does not read, nor does the writer.
                    assert (await eager.read()).notification.number == told
            eager.cancel()
        heard, error = await rest_of(lazy)
        assert 0 < len(heard) < told
        assert (error.code(), "did not keep up" in (error.details() or "")) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
        again = await taken(station.client.events.watch(cursor=heard[-1].cursor), told - len(heard))
        assert [event.number for event in [*heard, *again]] == list(range(1, told + 1))


async def test_the_python_client_comes_back_by_itself_after_it_was_cut_off(open_station: Open) -> None:
    async with open_station(slow_after_s=0.2) as station:
        stream = station.client.events.watch()
        first = asyncio.ensure_future(taken(stream, 1))
        await station.until(lambda: station.hub.followers == 1)
        await station.tell("first")
        heard, told = await first, 1
        async with asyncio.timeout(PATIENCE_S):
            while station.hub.followers:
                await station.tell(*("large" for _ in range(10)), sentence=LARGE)
                told += 10
        heard += await taken(stream, told - 1)
        assert [event.number for event in heard] == list(range(1, told + 1))


async def test_of_followers_who_have_left_nothing_stays(open_station: Open) -> None:
    """W12."""
    async with open_station() as station:
        await station.hire("ann")
        requests: list[Any] = [pb.WatchRequest(), pb.WatchRequest(), pb.WatchRequest(filter=pb.EventFilter(record_ids=["a"]))]
        streams = [station.events.Watch(request) for request in requests]
        streams += [station.events.Subscribe(pb.SubscribeRequest(seller_id="ann")), station.events.Watch(pb.WatchRequest(workspace="w2"))]
        for stream in streams:
            await stream.read()
        hub = station.hub
        assert (hub.followers, hub.channels, hub.readers) == (5, 4, 2)
        for stream in streams[1:]:
            stream.cancel()
        await station.until(lambda: hub.followers == 1)
        assert (hub.channels, hub.readers) == (1, 1)
        await station.tell("a")
        assert (await streams[0].read()).event.number == 1
        streams[0].cancel()
        await station.until(lambda: hub.followers == 0)
        await station.tell("b")
        assert (hub.channels, hub.readers) == (0, 0)


async def test_a_stream_that_is_left_in_the_client_ends_at_the_server(open_station: Open) -> None:
    async with open_station() as station:
        stream = station.client.events.watch()
        first = asyncio.ensure_future(taken(stream, 1))
        await station.until(lambda: station.hub.followers == 1)
        await station.tell("a")
        await first
        await stream.aclose()
        await station.until(lambda: station.hub.followers == 0)
        assert (station.hub.channels, station.hub.readers) == (0, 0)


async def test_only_those_are_woken_whom_it_concerns(open_station: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[str] = []
    wake = Channel.wake

    def noted(channel: Channel) -> None:
        woken.append(getattr(channel.feed, "seller_id", "everybody"))
        wake(channel)

    monkeypatch.setattr(Channel, "wake", noted)
    async with open_station() as station:
        names = [f"s{n}" for n in range(30)]
        await station.hire(*names)
        streams = [station.events.Subscribe(pb.SubscribeRequest(seller_id=name)) for name in names]
        everybody = station.events.Watch(pb.WatchRequest())
        for stream in [*streams, everybody]:
            await stream.read()
        await station.tell("a", notify=("s7", "s9", "nobody"))
        assert [(await streams[n].read()).notification.seller_id for n in (7, 9)] == ["s7", "s9"]
        assert (await everybody.read()).event.record_id == "a"
        assert sorted(woken) == ["everybody", "s7", "s9"]
        for stream in [*streams, everybody]:
            stream.cancel()


async def test_a_reader_that_fails_ends_its_followers_and_the_next_begin_anew(open_station: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_station() as station:
        stream = station.events.Watch(pb.WatchRequest())
        start = (await stream.read()).heartbeat.cursor
        with monkeypatch.context() as broken:
            broken.setattr("reallot.server.streams._frames", _fails)
            await station.tell("a")
            _, error = await rest_of(stream)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        await _nobody(station)
        assert [event.number for event in await taken(station.client.events.watch(cursor=start), 1)] == [1]


def _fails(*_: Any) -> Any:
    from reallot.storage.errors import StorageUnavailable

    raise StorageUnavailable("the disk is gone")


async def _nobody(station: Station) -> None:
    await station.until(lambda: (station.hub.followers, station.hub.readers) == (0, 0))
