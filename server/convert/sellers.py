"""Sellers, calendars and absences between the contract and the entities."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import lru_cache
from typing import Any

from google.protobuf import json_format
from google.type import dayofweek_pb2

from reallot.server.convert.values import from_stored, from_us, maybe_from_us, to_us
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.calendars import Calendar, Exceptional, WeeklyHours
from reallot.storage.entities import Gain, Json, Load, Seller, TimeOff, Turn, Window
from reallot.storage.windows import windows_of
from reallot.v1 import seller_pb2


def weekly_hours(message: seller_pb2.WeeklyHours) -> WeeklyHours:
    """Return working hours; the contract counts days from Monday = 1, we from 0."""
    return WeeklyHours(message.day - dayofweek_pb2.MONDAY, message.start_minute, message.end_minute)


def calendar_message(document: Json) -> seller_pb2.Calendar:
    """Return the message of a stored calendar."""
    return json_format.ParseDict(document, seller_pb2.Calendar())


def calendar_of(document: Json, absences: tuple[tuple[int, int], ...]) -> Calendar | None:
    """Return a stored calendar with absences; None = always available."""
    if document is None:
        return Calendar(time_off=absences) if absences else None
    base = _calendar(json.dumps(document, sort_keys=True))
    return replace(base, time_off=absences)


@lru_cache(maxsize=20_000)
def _calendar(text: str) -> Calendar:
    message = calendar_message(json.loads(text))
    return Calendar(
        message.time_zone,
        tuple(weekly_hours(item) for item in message.weekly),
        tuple(
            Exceptional(date(e.date.year, e.date.month, e.date.day), tuple(weekly_hours(h) for h in e.hours)) for e in message.exceptions
        ),
        holidays=(message.holiday_country, message.holiday_region) if message.holiday_country else None,
    )


def to_document(message: Any) -> dict[str, Any]:
    """Return a message as the JSON document that storage keeps; numbers stay numbers."""
    document: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return document


def capacity_document(message: seller_pb2.Capacity) -> dict[str, Any]:
    """Return a capacity as the JSON document that storage keeps, with whole numbers where JSON of the contract has texts."""
    document: dict[str, Any] = {}
    if message.HasField("total"):
        document["total"] = message.total
    for name in ("by_record_type", "by_segment"):
        if values := dict(getattr(message, name)):
            document[name] = values
    if message.windows:
        document["windows"] = [
            {
                "count": window.count,
                "duration_us": window.duration.ToMicroseconds(),
                "record_type": window.record_type,
                "segment_id": window.segment_id,
            }
            for window in message.windows
        ]
    return document


def capacity_message(document: Json) -> seller_pb2.Capacity:
    """Return the message of a stored capacity."""
    message = seller_pb2.Capacity(by_record_type=document.get("by_record_type"), by_segment=document.get("by_segment"))
    if "total" in document:
        message.total = document["total"]
    message.windows.extend(map(_window_message, windows_of(document)))
    return message


def _window_message(window: Window) -> seller_pb2.CapacityWindow:
    message = seller_pb2.CapacityWindow(count=window.count, record_type=window.record_type, segment_id=window.segment_id)
    message.duration.FromMicroseconds(window.duration_us)
    return message


def window_uses(capacity: Mapping[str, Json], gains: Sequence[Gain], now_us: int) -> list[seller_pb2.WindowUse]:
    """Return how the rolling windows of a seller with this capacity and these gains stand."""
    found = []
    for window in windows_of(capacity):
        since_us = now_us - window.duration_us
        inside = [g for g in gains if g.time_us > since_us and window.covers(g.record_type, g.segment_id)]
        used = sum(gain.effort for gain in inside)
        leaves_us = min((gain.time_us + window.duration_us for gain in inside), default=None)
        found.append(
            seller_pb2.WindowUse(
                window=_window_message(window), used=used, free=window.count - used, next_free_time=maybe_from_us(leaves_us)
            )
        )
    return found


def time_off_message(row: TimeOff) -> seller_pb2.TimeOff:
    """Return an absence as a message."""
    return seller_pb2.TimeOff(time_off_id=row.time_off_id, start_time=from_us(row.start_us), end_time=from_us(row.end_us), note=row.note)


def to_time_off(seller_id: str, message: seller_pb2.TimeOff) -> TimeOff:
    """Return an absence of a seller."""
    return TimeOff(seller_id, message.time_off_id, to_us(message.start_time), to_us(message.end_time), message.note)


def load_messages(loads: Iterable[Load]) -> list[seller_pb2.Load]:
    """Return loads as messages."""
    return [
        seller_pb2.Load(record_type=row.record_type, segment_id=row.segment_id, effort=row.effort, records=row.records) for row in loads
    ]


def counted_load(loads: Iterable[Load], config: WorkspaceConfig) -> int:
    """Return the load over all counted record types."""
    return sum(row.effort for row in loads if row.record_type in config.counted_types)


def maximum_of(capacity: Mapping[str, Json], config: WorkspaceConfig) -> int:
    """Return the most that a seller with this capacity may carry over all counted record types."""
    return int(capacity.get("total", config.default_capacity))


def seller_message(
    seller: Seller,
    config: WorkspaceConfig,
    loads: Sequence[Load],
    turns: Sequence[Turn],
    absences: Sequence[TimeOff],
    uses: Sequence[seller_pb2.WindowUse],
) -> seller_pb2.Seller:
    """Return a stored seller with load, turns, absences and the use of windows as a message."""
    types = {f.id: f.type for f in config.seller_schema.fields}
    free = maximum_of(seller.capacity, config) - counted_load(loads, config)
    return seller_pb2.Seller(
        seller_id=seller.seller_id,
        display_name=seller.display_name,
        priority=seller.priority,
        attributes={n: from_stored(v, types[n]) for n, v in sorted(seller.attributes.items()) if n in types},
        skills=dict(seller.skills),
        team_ids=seller.team_ids,
        assignable=seller.assignable,
        roles_ok=seller.roles_ok,
        weight=seller.weight,
        capacity=capacity_message(seller.capacity),
        calendar=calendar_message(seller.calendar) if seller.calendar is not None else None,
        last_assigned={t.record_type: seller_pb2.LastAssigned(order=t.order, time=from_us(t.time_us)) for t in turns},
        load=load_messages(loads),
        free=free,
        over_capacity=free < 0,
        time_off=[time_off_message(row) for row in absences],
        etag=str(seller.version),
        create_time=from_us(seller.create_us),
        update_time=from_us(seller.update_us),
        window_use=uses,
    )
