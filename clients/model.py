"""Friendly forms of records and sellers for callers who would rather not build messages."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from google.type import dayofweek_pb2

from reallot.clients.values import timestamp, to_owner, to_values
from reallot.v1 import record_pb2, record_service_pb2, seller_pb2, seller_service_pb2

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"\s*([a-z]{3})(?:\s*-\s*([a-z]{3}))?\s+(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s*", re.IGNORECASE)


def parse_hours(text: str) -> list[seller_pb2.WeeklyHours]:
    """Return weekly hours from a text such as "Mon-Fri 08:00-12:00, Sat 09:00-13:00".

    Raises:
        ValueError: a part cannot be read.
    """
    found = []
    for part in text.split(","):
        match = _HOURS.fullmatch(part)
        names = [name.lower() for name in match.groups()[:2] if name] if match else []
        if match is None or any(name not in DAYS for name in names):
            raise ValueError(f"{part.strip()!r} cannot be read: write e.g. Mon-Fri 08:00-17:00")
        first, last = DAYS.index(names[0]), DAYS.index(names[-1])
        days = range(first, last + 1) if first <= last else [*range(first, 7), *range(last + 1)]
        start, end = (int(match[3]) * 60 + int(match[4]), int(match[5]) * 60 + int(match[6]))
        for day in days:
            name = dayofweek_pb2.DayOfWeek.Name(day + dayofweek_pb2.MONDAY)
            found.append(seller_pb2.WeeklyHours(day=dayofweek_pb2.DayOfWeek.Value(name), start_minute=start, end_minute=end))
    return found


_WINDOW = re.compile(r"(\d+)/(\d+)([smhdw])((?:\s+(?:type|segment):\S+)*)")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def parse_window(text: str) -> seller_pb2.CapacityWindow:
    """Return a rolling window from a text such as "5/1h", "2/1d segment:hot" or "20/1w type:lead".

    Raises:
        ValueError: the text cannot be read.
    """
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} cannot be read: write e.g. 5/1h or 2/1d segment:hot (units s, m, h, d, w)")
    scope = dict(part.split(":", 1) for part in match[4].split())
    window = seller_pb2.CapacityWindow(count=int(match[1]), record_type=scope.get("type", ""), segment_id=scope.get("segment", ""))
    window.duration.FromSeconds(int(match[2]) * _UNIT_SECONDS[match[3]])
    return window


@dataclass(frozen=True)
class Record:
    """A record to be stored; what is None is left as it is. `owner` is a seller's id, or `team:ID`, or `queue:ID`.

    To change the owner of a stored record, say in `expected_owner` whom you believe to own it ("" = nobody).
    """

    record_id: str
    record_type: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    owner: str | None = None
    expected_owner: str | None = None
    active: bool | None = None
    priority: int | None = None
    value_units: int | None = None
    created_time: datetime | None = None
    created_by: str | None = None
    effort: int | None = None
    group_key: str | None = None
    related: Mapping[str, str] = field(default_factory=dict)

    def to_upsert(self) -> record_service_pb2.RecordUpsert:
        """Return the row of an upsert."""
        message = record_pb2.Record(
            record_id=self.record_id, record_type=self.record_type, fields=to_values(self.fields), related=dict(self.related)
        )
        for name in ("active", "priority", "value_units", "created_by", "effort", "group_key"):
            if (value := getattr(self, name)) is not None:
                setattr(message, name, value)
        if self.created_time is not None:
            message.created_time.CopyFrom(timestamp(self.created_time))
        row = record_service_pb2.RecordUpsert(record=message)
        if self.owner:
            row.record.owner.CopyFrom(to_owner(self.owner))
        if self.expected_owner is not None:
            row.update_mask.paths.extend(self._paths())
            row.expected_owner.SetInParent()
            if self.expected_owner:
                row.expected_owner.owner.CopyFrom(to_owner(self.expected_owner))
        return row

    def _paths(self) -> list[str]:
        named = ("active", "priority", "value_units", "created_time", "created_by", "effort", "group_key")
        given = [name for name in named if getattr(self, name) is not None]
        return [*given, "owner", *(["fields"] if self.fields else []), *(["related"] if self.related else [])]


@dataclass(frozen=True)
class Seller:
    """A seller to be stored; what is None is left as it is. `hours` reads like "Mon-Fri 08:00-17:00" in the time zone `zone`.

    `capacity`, `capacity_by_segment` and `windows` (see `parse_window`) are written together: what is not given of them is removed.
    """

    seller_id: str
    display_name: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    skills: Mapping[str, int] = field(default_factory=dict)
    team_ids: Sequence[str] = ()
    capacity: int | None = None
    capacity_by_segment: Mapping[str, int] = field(default_factory=dict)
    windows: Sequence[str] = ()
    hours: str | None = None
    zone: str | None = None
    priority: int | None = None
    weight: int | None = None
    assignable: bool | None = None
    stand_in_id: str | None = None
    roles_ok: bool | None = None
    last_assigned: Mapping[str, tuple[int, datetime]] = field(default_factory=dict)

    def to_upsert(self) -> seller_service_pb2.SellerUpsert:
        """Return the row of an upsert."""
        message = seller_pb2.Seller(
            seller_id=self.seller_id, attributes=to_values(self.attributes), skills=dict(self.skills), team_ids=self.team_ids
        )
        for name in ("display_name", "priority", "weight", "assignable", "roles_ok", "stand_in_id"):
            if (value := getattr(self, name)) is not None:
                setattr(message, name, value)
        if self.capacity is not None:
            message.capacity.total = self.capacity
        if self.capacity_by_segment or self.windows:
            message.capacity.by_segment.update(self.capacity_by_segment)
            message.capacity.windows.extend(map(parse_window, self.windows))
        if self.hours is not None or self.zone is not None:
            message.calendar.time_zone = self.zone or "UTC"
            message.calendar.weekly.extend(parse_hours(self.hours) if self.hours else [])
        for record_type, (order, when) in self.last_assigned.items():
            message.last_assigned[record_type].order = order
            message.last_assigned[record_type].time.CopyFrom(timestamp(when))
        return seller_service_pb2.SellerUpsert(seller=message)
