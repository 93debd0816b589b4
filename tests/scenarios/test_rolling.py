"""Conditions that read the clock: a record moves when its answer changes, though nobody touches it."""

from typing import Any

from reallot.clients import Record, Seller

from world import Make, World, a_rule, at, kinds


def fresh_and_stale(w: World, **fresh: Any) -> None:
    """Leads of the last 30 days, and all others."""
    w.apply(
        settings={"rerun_on": {}, **fresh.pop("settings", {})},
        record_types=[{"record_type": "lead", "fields": [{"field_id": "seen", "type": "FIELD_TYPE_TIMESTAMP"}]}],
        segments=[
            {
                "segment_id": "fresh",
                "record_type": "lead",
                "priority": 1,
                "condition": 'record.seen > now - duration("30d") && record.seen <= now',
                "on_no_match": "ON_NO_MATCH_DEFAULT_SEGMENT",
                "accepts_moves": True,
                "rules": [a_rule()],
            },
            {"segment_id": "stale", "record_type": "lead", "is_default": True, "accepts_moves": True},
        ],
    )
    w.sellers(Seller("ann"))


def segments(w: World, *record_ids: str) -> list[str]:
    return [w.record(record_id).segment_id for record_id in record_ids]


def test_a_record_leaves_a_rolling_segment_when_its_time_is_over(world: Make) -> None:
    w = world("2026-03-05T08:00")
    fresh_and_stale(w)
    w.write(Record("new", "lead", {"seen": at("2026-03-05T08:00")}), Record("old", "lead", {"seen": at("2026-02-05T08:00")}))
    assert segments(w, "new", "old") == ["fresh", "fresh"]
    w.advance("2026-03-07T07:59")
    assert segments(w, "new", "old") == ["fresh", "fresh"]
    w.advance("2026-03-07T08:00")
    assert segments(w, "new", "old") == ["fresh", "stale"]
    event = w.events(record_ids=["old"])[-1]
    assert kinds([event]) == ["RESEGMENTED"]
    assert event.sentence.text == "old moved from fresh to stale because time went by; ann keeps it."
    w.advance("2026-04-04T08:00")
    assert segments(w, "new", "old") == ["stale", "stale"]


def test_a_record_joins_when_its_time_has_come_and_later_values_count(world: Make) -> None:
    w = world("2026-03-05T08:00")
    fresh_and_stale(w)
    w.write(Record("L1", "lead", {"seen": at("2026-03-10T08:00")}))
    assert segments(w, "L1") == ["stale"]
    w.write(Record("L1", "lead", {"seen": at("2026-03-06T08:00")}))
    w.advance("2026-03-06T08:00")
    assert segments(w, "L1") == ["fresh"]
    w.write(Record("L1", "lead", {"seen": at("2026-03-07T09:00")}), Record("L2", "lead", {"seen": None}))
    w.advance("2026-05-01T00:00")
    assert segments(w, "L1", "L2") == ["stale", "stale"]
    moved = [e for e in w.events(record_ids=["L1"]) if kinds([e]) == ["RESEGMENTED"]]
    assert moved[-1].time.ToDatetime() == at("2026-04-06T09:00").replace(tzinfo=None)


def test_closed_records_stay_and_a_paused_workspace_makes_up_for_what_passed(world: Make) -> None:
    w = world("2026-03-05T08:00")
    fresh_and_stale(w)
    w.write(*(Record(i, "lead", {"seen": at("2026-03-05T08:00")}) for i in ("open", "closed")))
    w.write(Record("closed", "lead", active=False))
    w.apply(settings={"rerun_on": {}, "paused": True})
    w.advance("2026-05-05T08:00")
    assert segments(w, "open", "closed") == ["fresh", "fresh"]
    w.apply(settings={"rerun_on": {}})
    w.settle()
    assert segments(w, "open", "closed") == ["stale", "fresh"]
