"""What waits is tried again by itself when somebody works, stands in or has room again; and every record says when."""

from reallot.clients import Record, Seller
from reallot.clients.values import timestamp
from reallot.v1 import run_pb2, seller_pb2, seller_service_pb2

from world import Make, World, a_lead, a_rule, a_segment, at, lead_type

HERE_NOW = {"available_within": "0s"}


def for_one(seller_id: str, **parts: object) -> dict[str, object]:
    target = {"sellers": {"seller_ids": [seller_id]}}
    return a_rule(seller_id, condition=f'record.kind == "{seller_id}"', target=target, **parts)


def configured(here: World, *rules: dict[str, object], causes: list[str] | None = None, **bundle: object) -> None:
    settings = {} if causes is None else {"rerun_on": {"causes": [f"RERUN_CAUSE_{cause}" for cause in causes]}}
    here.apply(settings=settings, record_types=[lead_type()], segments=[a_segment("leads", *rules)], **bundle)


def works(seller_id: str, hours: str, **parts: object) -> Seller:
    return Seller(seller_id, hours=hours, zone="UTC", **parts)


def next_try(here: World, record_id: str) -> str:
    state = here.record(record_id).assignment
    return state.next_try_time.ToJsonString() if state.HasField("next_try_time") else ""


def away(here: World, seller_id: str, start: str, end: str) -> None:
    absence = seller_pb2.TimeOff(time_off_id="leave", start_time=timestamp(at(start)), end_time=timestamp(at(end)))
    here.client.stubs.sellers.AddTimeOff(seller_service_pb2.AddTimeOffRequest(seller_ids=[seller_id], time_off=absence))
    here.settle()


def by_events(here: World) -> list[tuple[int, int]]:
    return [(run.counts.considered, run.counts.assigned) for run in here.runs(run_pb2.RUN_KIND_EVENT)]


def test_what_nobody_was_there_for_is_tried_when_the_first_of_its_sellers_begins_to_work(world: Make) -> None:
    here = world("2026-03-05T05:00")
    configured(here, for_one("ana", **HERE_NOW), for_one("ben", **HERE_NOW), for_one("cid", available_within="86400s"))
    here.sellers(works("ana", "Mon-Fri 08:00-17:00"), works("ben", "Mon-Fri 10:00-17:00"), works("cid", "Mon 09:00-10:00"))
    before = len(by_events(here))
    here.write(a_lead("a", kind="ana"), a_lead("b", kind="ben"), a_lead("c", kind="cid"))
    assert [here.status(name) for name in "abc"] == ["NO_AVAILABILITY"] * 3
    # The rule of the third is content with somebody who works within a day.
    assert [next_try(here, name) for name in "abc"] == ["2026-03-05T08:00:00Z", "2026-03-05T10:00:00Z", "2026-03-08T09:00:00Z"]
    summary = here.told("explain", "a")[0]["summary"]
    assert summary.endswith(
        "It was tried 1 time, and is tried again at 2026-03-05 08:00:00 UTC; it is overdue since 2026-03-05 05:00:00 UTC."
    )
    assert "next try 2026-03-05 10:00:00, overdue since 2026-03-05 05:00:00 (UTC)" in here.call("records", "get", "b")
    here.advance("2026-03-05T07:59:59")
    assert here.owners("a", "b") == ["", ""]
    here.advance("2026-03-05T08:00")
    assert here.owners("a", "b") == ["ana", ""]
    here.advance("2026-03-05T10:00")
    here.advance("2026-03-08T09:00")
    assert here.owners("a", "b", "c") == ["ana", "ben", "cid"]
    assert by_events(here)[before:] == [(1, 1)] * 3, "each run took what was due, and nothing else"
    assert [next_try(here, name) for name in "abc"] == ["", "", ""]


def test_the_next_try_follows_absences_and_working_time(world: Make) -> None:
    here = world("2026-03-05T05:00")
    configured(here, for_one("ana", **HERE_NOW), for_one("ben", available_within="86400s"), for_one("cid", **HERE_NOW))
    here.sellers(works("ana", "Mon-Fri 08:00-17:00"), works("ben", "Mon 09:00-10:00"), works("cid", "Mon-Fri 09:00-17:00"))
    here.write(a_lead("a", kind="ana"), a_lead("b", kind="ben"), a_lead("c", kind="cid"))
    before = len(by_events(here))
    away(here, "ana", "2026-03-05T06:00", "2026-03-06T12:00")
    away(here, "ben", "2026-03-09T00:00", "2026-03-10T00:00")
    assert [next_try(here, name) for name in "abc"] == ["2026-03-06T12:00:00Z", "2026-03-15T09:00:00Z", "2026-03-05T09:00:00Z"]
    assert by_events(here)[before:] == [(1, 0), (1, 0)]
    run = here.runs(run_pb2.RUN_KIND_EVENT)[-1]
    assert run.cause == "somebody whom it waited for will be absent"
    # An absence that begins after the next try changes nothing, and nobody is asked.
    away(here, "cid", "2026-04-20T00:00", "2026-05-01T00:00")
    here.advance("2026-03-05T08:00")
    assert [here.record(name).assignment.attempts for name in "abc"] == [2, 2, 1]
    here.sellers(works("ana", "Sat 10:00-12:00"))
    assert next_try(here, "a") == "2026-03-07T10:00:00Z"
    here.advance("2026-03-07T10:00")
    assert here.owners("a", "b", "c") == ["ana", "", "cid"]


def test_without_reruns_for_sellers_who_are_available_only_a_schedule_has_it_tried(world: Make) -> None:
    here = world("2026-03-05T05:00")
    late = {"schedule_id": "late", "cron": "0 16 * * *", "selection": {"waiting_at_least": "43200s"}}
    other = {"schedule_id": "other", "cron": "0 6 * * *", "selection": {"record_type": "lead", "filter": 'record.kind == "ben"'}}
    configured(here, for_one("ana", **HERE_NOW), causes=["CAPACITY_FREED"], schedules=[late, other])
    here.sellers(works("ana", "Mon-Fri 08:00-17:00"))
    here.write(a_lead("a", kind="ana"))
    assert next_try(here, "a") == "2026-03-06T16:00:00Z", "by four in the afternoon it has waited for eleven hours"
    here.advance("2026-03-06T15:59")
    assert (here.owner("a"), by_events(here)) == ("", [])
    here.advance("2026-03-06T16:00")
    assert here.owner("a") == "ana"


def test_room_that_a_window_frees_and_a_stand_in_who_is_expected_are_foreseen(world: Make) -> None:
    here = world("2026-03-05T09:00")
    configured(here, for_one("ana", **HERE_NOW), for_one("ben"))
    here.sellers(works("ana", "Mon-Fri 08:00-17:00", windows=["1/1h"]), Seller("ben", capacity=0, stand_in_id="cid"), Seller("cid"))
    here.write(a_lead("a1", kind="ana"), a_lead("a2", kind="ana"), a_lead("b", kind="ben"))
    assert (here.status("a2"), next_try(here, "a2")) == ("NO_CAPACITY", "2026-03-05T10:00:00Z")
    here.write(a_lead("a3", kind="ana"))
    assert next_try(here, "a3") == "2026-03-05T10:00:00Z"
    assert (here.status("b"), next_try(here, "b")) == ("NO_CAPACITY", "")
    away(here, "ben", "2026-03-05T09:30", "2026-03-05T12:00")
    assert next_try(here, "b") == "2026-03-05T09:30:00Z"
    here.advance("2026-03-05T09:30")
    assert here.owner("b") == "cid"
    here.advance("2026-03-05T10:00")
    assert sorted(here.owners("a2", "a3")) == ["", "ana"]
    waits = "a2" if here.owner("a3") else "a3"
    assert next_try(here, waits) == "2026-03-05T11:00:00Z"
    here.sellers(works("ana", "Mon-Fri 08:00-10:30", windows=["1/1h"]))
    here.advance("2026-03-05T11:00")
    assert next_try(here, waits) == "2026-03-06T08:00:00Z", "there is room, and nobody there"
    here.advance("2026-03-06T08:00")
    assert here.owner(waits) == "ana"


def test_what_has_an_owner_waits_for_a_run_or_is_closed_is_not_tried(world: Make) -> None:
    here = world("2026-03-05T05:00")
    configured(here, for_one("ana", **HERE_NOW))
    here.sellers(works("ana", "Mon-Fri 08:00-17:00"), Seller("ben"))
    here.write(*(a_lead(name, kind="ana") for name in ("given", "released", "closed")))
    here.give("ben", "given", "released")
    here.release("released")
    here.write(Record("closed", "lead", active=False))
    before = len(by_events(here))
    assert [next_try(here, name) for name in ("given", "released", "closed")] == ["", "", ""]
    here.advance("2026-03-05T09:00")
    assert here.owners("given", "released", "closed") == ["ben", "", ""]
    assert len(by_events(here)) == before
