"""Quiet hours: what is not told outside a seller's working time comes when it begins, whole and in order, also over a restart."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reallot.clients import Seller
from reallot.clients.values import timestamp
from reallot.server.demo.process import server_process
from reallot.v1 import event_service_pb2, seller_pb2, seller_service_pb2

from world import Make, World, a_lead, a_rule, a_segment, at, kinds, lead_type, quiet_settings

PATIENCE_S = 20
MON_TO_FRI = {"hours": "Mon-Fri 09:00-17:00", "zone": "UTC"}


def an_office(here: World, **settings: Any) -> None:
    """Ana works on weekdays, Ben has no calendar."""
    here.apply(
        settings=quiet_settings(**{"quiet_hours": True, **settings}),
        record_types=[lead_type()],
        segments=[a_segment("leads", a_rule(), on_arrival="ON_ARRIVAL_WAIT")],
    )
    here.sellers(Seller("ana", **MON_TO_FRI), Seller("ben"))
    here.write(a_lead("l"), a_lead("m"))


def told(here: World, seller: str = "ana") -> list[tuple[str, str]]:
    """Return record and kind of a seller's notices, in order."""
    return [(n.event.record_id, kinds([n.event])[0]) for n in here.notices(seller)]


def unread(here: World, seller: str = "ana") -> int:
    return here.client.stubs.events.ListNotifications(event_service_pb2.ListNotificationsRequest(seller_id=seller)).unread_count


def away(here: World, start: str, end: str) -> None:
    absence = seller_pb2.TimeOff(time_off_id="away", start_time=timestamp(at(start)), end_time=timestamp(at(end)))
    here.client.stubs.sellers.AddTimeOff(seller_service_pb2.AddTimeOffRequest(seller_ids=["ana"], time_off=absence))
    here.settle()


def test_what_happens_in_quiet_hours_is_told_in_order_when_work_begins(world: Make) -> None:
    here = world("2026-03-05T16:59")
    an_office(here)
    here.give("ana", "l")
    assert told(here) == [("l", "ASSIGNED")]
    here.jump("2026-03-05T17:00")
    here.give("ben", "l")
    here.give("ana", "m")
    assert (told(here), told(here, "ben"), unread(here)) == ([("l", "ASSIGNED")], [("l", "REASSIGNED")], 1)
    reached = here.events()[-1].number
    here.advance("2026-03-06T08:59")
    assert len(told(here)) == 1
    here.advance("2026-03-06T09:00")
    late = here.notices("ana")[1:]
    assert ([(n.event.record_id, kinds([n.event])[0]) for n in late], unread(here)) == ([("l", "REASSIGNED"), ("m", "ASSIGNED")], 3)
    # Each is appended anew, so whoever follows from a cursor gets it; the event in it is what it was.
    assert [n.number > reached for n in late] == [True, True]
    assert [e.number for e in here.events() if e.number in {n.event.number for n in late}] == [n.event.number for n in late]
    assert [n.time.ToDatetime(UTC) for n in late] == [at("2026-03-06T09:00")] * 2
    assert here.client.events.acknowledge("ana", numbers=[n.number for n in late]) == 1
    here.give("ana", "l")
    assert told(here)[-1] == ("l", "REASSIGNED")


def test_a_follower_gets_what_was_held_back_on_every_device(world: Make) -> None:
    here = world("2026-03-06T20:00")
    an_office(here)

    async def follow() -> list[Any]:
        client = here.client.inner
        request = event_service_pb2.SubscribeRequest(workspace=client.workspace, seller_id="ana", snapshot=True)
        streams = [client.stubs.events.Subscribe(request) for _ in range(2)]
        watch = event_service_pb2.WatchRequest(workspace=client.workspace, snapshot=True)
        everything = client.stubs.events.Watch(watch)
        for stream in (*streams, everything):
            async for answer in stream:
                if answer.WhichOneof("item") == "snapshot_end":
                    break
        task = asyncio.create_task(asyncio.to_thread(happens))
        found = []
        async with asyncio.timeout(PATIENCE_S):
            for stream in streams:
                async for answer in stream:
                    if answer.WhichOneof("item") == "notification":
                        found.append(answer.notification)
                        break
            async for answer in everything:
                if answer.WhichOneof("item") == "event":
                    found.append(answer.event)
                    break
        await task
        for stream in (*streams, everything):
            stream.cancel()
        return found

    def happens() -> None:
        here.give("ana", "l")
        here.advance("2026-03-09T09:00")

    first, second, event = here.client.run(follow())
    # The CRM hears at once, sellers when they work.
    assert (first.event.record_id, first) == ("l", second)
    assert (event.number, event.time.ToDatetime(UTC)) == (first.event.number, at("2026-03-06T20:00"))
    # What one device has acknowledged is read on the other.
    assert here.client.events.acknowledge("ana", up_to=first.number) == 0
    assert unread(here) == 0


def test_it_goes_by_the_working_time_as_it_is_by_then(world: Make) -> None:
    here = world("2026-03-06T20:00")
    an_office(here)
    here.give("ana", "l")
    away(here, "2026-03-09T00:00", "2026-03-10T00:00")
    here.advance("2026-03-09T09:00")
    assert told(here) == []
    here.client.stubs.sellers.RemoveTimeOff(seller_service_pb2.RemoveTimeOffRequest(seller_id="ana", time_off_ids=["away"]))
    here.settle()
    assert told(here) == [("l", "ASSIGNED")]
    away(here, "2026-03-09T09:30", "2026-03-09T10:00")
    here.give("ben", "l")
    here.jump("2026-03-09T09:30")
    here.give("ana", "l")
    assert len(told(here)) == 2
    here.advance("2026-03-09T10:00")
    assert len(told(here)) == 3
    here.jump("2026-03-09T17:00")
    here.give("ben", "l")
    assert len(told(here)) == 3
    # Whoever does away with quiet hours gets everything at once.
    here.apply(settings=quiet_settings())
    here.settle()
    assert told(here)[-1] == ("l", "REASSIGNED")
    here.give("ana", "l")
    assert len(told(here)) == 5


def test_digests_and_due_steps_wait_too_and_a_pause_goes_before(world: Make) -> None:
    here = world("2026-03-06T20:00")
    an_office(here, digest_above=1)
    here.apply(segments=[a_segment("leads", a_rule(target={"sellers": {"seller_ids": ["ana"]}}))])
    here.run()
    assert here.owners("l", "m") == ["ana", "ana"]
    assert here.notices("ana") == []
    here.apply(settings=quiet_settings(quiet_hours=True, digest_above=1, paused=True))
    here.advance("2026-03-09T09:00")
    assert here.notices("ana") == []
    here.apply(settings=quiet_settings(quiet_hours=True, digest_above=1))
    here.settle()
    (notice,) = here.notices("ana")
    assert (notice.WhichOneof("content"), notice.digest.gained) == ("digest", 2)


def test_what_is_held_back_outlives_the_server(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'quiet.sqlite'}"
    with server_process(datetime(2026, 3, 6, 20, tzinfo=UTC), url) as address:
        here = World(address, "2026-03-06T20:00")
        an_office(here)
        here.give("ana", "l")
        assert told(here) == []
        name = here.client.inner.workspace
        here.client.close()
    with server_process(datetime(2026, 3, 9, 10, tzinfo=UTC), url) as address:
        again = World(address, "2026-03-09T10:00")
        again.client.inner.workspace = name
        again.settle()
        assert told(again) == [("l", "ASSIGNED")]
        again.client.close()
