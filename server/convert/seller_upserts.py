"""Rows of seller upserts and calendars, validated: every fault with its path, or what is to be written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from reallot.server.clock import MICROSECONDS
from reallot.server.convert.sellers import capacity_document, to_document, weekly_hours
from reallot.server.convert.values import date_fault, instant_fault, to_stored
from reallot.server.errors import Violation, not_implemented
from reallot.server.validation import LARGEST_CAPACITY, LONGEST_NAME, check_id
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.calendars import CalendarError, WeeklyHours, check_hours, zone_of
from reallot.solver.holidays import HolidayError, check_holidays
from reallot.solver.segmentation import field_id_fault
from reallot.storage.entities import Seller
from reallot.v1 import seller_pb2, seller_service_pb2

_PATHS = {
    *("display_name", "priority", "attributes", "skills", "team_ids", "assignable", "roles_ok", "weight"),
    *("capacity", "calendar", "ramp_up"),
}
_OPTIONAL = ("display_name", "priority", "assignable", "roles_ok", "weight", "capacity", "calendar", "ramp_up")
_RANGES = {"priority": (0, 100), "weight": (1, 1_000)}
HIGHEST_GRADE = 10
MOST_WINDOWS, LONGEST_WINDOW_US = 20, 366 * 86_400 * MICROSECONDS
LARGEST_ORDER = 2**53
"""Places in the round-robin order start above the highest that a seller brings along, so some must be left."""
_DEFAULTS: dict[str, Any] = {"display_name": "", "priority": 50, "assignable": True, "roles_ok": True, "weight": 1}


def check_calendar(message: seller_pb2.Calendar, path: str) -> Iterator[Violation]:
    """Yield what is wrong with a calendar."""
    yield from _holiday_faults(message, path)
    try:
        zone_of(message.time_zone)
    except CalendarError as error:
        yield Violation(f"{path}.time_zone", str(error), "INVALID_CALENDAR")
    yield from _hours_faults([weekly_hours(h) for h in message.weekly], f"{path}.weekly")
    seen: set[tuple[int, int, int]] = set()
    for index, item in enumerate(message.exceptions):
        place, day = f"{path}.exceptions[{index}]", (item.date.year, item.date.month, item.date.day)
        yield from _hours_faults([replace(weekly_hours(h), day=0) for h in item.hours], f"{place}.hours")
        if (fault := date_fault(item.date)) is not None or day in seen:
            yield Violation(f"{place}.date", fault or "the day comes twice", "INVALID_CALENDAR")
        seen.add(day)


def _holiday_faults(message: seller_pb2.Calendar, path: str) -> Iterator[Violation]:
    country, region = message.holiday_country, message.holiday_region
    if not country:
        if region:
            yield Violation(f"{path}.holiday_country", "a region needs its country", "INVALID_CALENDAR")
        return
    name = "holiday_country"
    try:
        check_holidays(country, "")
        name = "holiday_region"
        check_holidays(country, region)
    except HolidayError as error:
        yield Violation(f"{path}.{name}", str(error), "INVALID_CALENDAR")


def _hours_faults(hours: Sequence[WeeklyHours], path: str) -> Iterator[Violation]:
    """Yield each faulty item at its place; items that overlap each other at the place of the list."""
    single = False
    for index, item in enumerate(hours):
        try:
            check_hours([item])
        except CalendarError as error:
            single = True
            yield Violation(f"{path}[{index}]", str(error), "INVALID_CALENDAR")
    try:
        check_hours([] if single else hours)
    except CalendarError as error:
        yield Violation(path, str(error), "INVALID_CALENDAR")


class SellerReader:
    """Reads rows of seller upserts against one configuration; collects the violations of all of them."""

    def __init__(self, config: WorkspaceConfig) -> None:
        self._config = config
        self._declared = {f.id: f.type for f in config.seller_schema.fields if f.id not in ("seller_id", "teams")}
        self.violations: list[Violation] = []

    def read(self, row: seller_service_pb2.SellerUpsert, before: Seller | None, path: str) -> Seller:
        """Return the seller as it will be; what has faults is left as it was."""
        message = row.seller
        self.violations.extend(check_id(f"{path}.seller.seller_id", message.seller_id))
        mask = self._mask(row, path)
        if "ramp_up" in mask and message.HasField("ramp_up"):
            raise not_implemented("ramp-up of newcomers")
        after = before or Seller(message.seller_id)
        for name in mask.intersection(_DEFAULTS):
            after = replace(after, **{name: self._scalar(message, name, path)})
        if "team_ids" in mask:
            after = replace(after, team_ids=self._teams(message, path))
        if "capacity" in mask:
            after = replace(after, capacity=self._capacity(message.capacity, f"{path}.seller.capacity"))
        if "calendar" in mask:
            self.violations.extend(check_calendar(message.calendar, f"{path}.seller.calendar") if message.HasField("calendar") else ())
            after = replace(after, calendar=to_document(message.calendar) if message.HasField("calendar") else None)
        attributes = self._attributes(after, message, mask, f"{path}.seller.attributes")
        skills = self._skills(after, message, mask, f"{path}.seller.skills")
        return replace(after, attributes=attributes, skills=skills)

    def _mask(self, row: seller_service_pb2.SellerUpsert, path: str) -> set[str]:
        message = row.seller
        if not row.HasField("update_mask"):
            present = {name for name in _OPTIONAL if message.HasField(name)}  # type: ignore[arg-type]
            # What is given is set one by one: what is not given stays.
            given = {f"attributes.{name}" for name in message.attributes} | {f"skills.{name}" for name in message.skills}
            return present | given | ({"team_ids"} if message.team_ids else set())
        if list(row.update_mask.paths) == ["*"]:
            return set(_PATHS)
        for name in row.update_mask.paths:
            head, _, tail = name.partition(".")
            known = name in _PATHS or (head == "skills" and tail) or (head == "attributes" and tail in self._declared)
            if not known:
                self.violations.append(Violation(f"{path}.update_mask", f"{name!r} cannot be written", "UNKNOWN_MASK_PATH"))
        return set(row.update_mask.paths)

    def _scalar(self, message: seller_pb2.Seller, name: str, path: str) -> Any:
        value = getattr(message, name) if message.HasField(name) else _DEFAULTS[name]  # type: ignore[arg-type]
        if isinstance(value, str) and len(value) > LONGEST_NAME:
            self.violations.append(Violation(f"{path}.seller.{name}", f"a name has at most {LONGEST_NAME} characters"))
        low, high = _RANGES.get(name, (None, None))
        if low is not None and high is not None and not low <= value <= high:
            self.violations.append(Violation(f"{path}.seller.{name}", f"{value} is not between {low} and {high}"))
        return value

    def _teams(self, message: seller_pb2.Seller, path: str) -> tuple[str, ...]:
        for index, team in enumerate(message.team_ids):
            if self._config.find("team", team) is None:
                self.violations.append(Violation(f"{path}.seller.team_ids[{index}]", f"team {team!r} does not exist", "UNKNOWN_REFERENCE"))
        return tuple(sorted(set(message.team_ids)))

    def _capacity(self, message: seller_pb2.Capacity, path: str) -> dict[str, Any]:
        document = capacity_document(message)
        self.violations.extend(self._window_faults(message.windows, path))
        values = [("total", document.get("total", 0))]
        values += [(f"{n}.{k}", v) for n in ("by_record_type", "by_segment") for k, v in document.get(n, {}).items()]
        for name, value in values:
            if not 0 <= value <= LARGEST_CAPACITY:
                self.violations.append(Violation(f"{path}.{name}", f"{value} is not between 0 and {LARGEST_CAPACITY}"))
        for kind, key in (("record_type", "by_record_type"), ("segment", "by_segment")):
            for name in document.get(key, {}):
                if self._config.find(kind, name) is None:
                    self.violations.append(Violation(f"{path}.{key}.{name}", f"{kind} {name!r} does not exist", "UNKNOWN_REFERENCE"))
        return document

    def _window_faults(self, windows: Sequence[seller_pb2.CapacityWindow], path: str) -> Iterator[Violation]:
        if len(windows) > MOST_WINDOWS:
            yield Violation(f"{path}.windows", f"{len(windows)} windows are more than {MOST_WINDOWS}")
        seen = set()
        for index, window in enumerate(windows):
            place, duration_us = f"{path}.windows[{index}]", window.duration.ToMicroseconds()
            if not 0 <= window.count <= LARGEST_CAPACITY:
                yield Violation(f"{place}.count", f"{window.count} is not between 0 and {LARGEST_CAPACITY}")
            if not MICROSECONDS <= duration_us <= LONGEST_WINDOW_US:
                yield Violation(f"{place}.duration", "it is not between 1 second and 366 days")
            segment = self._config.find("segment", window.segment_id) if window.segment_id else None
            for kind, name in (("record_type", window.record_type), ("segment", window.segment_id)):
                if name and self._config.find(kind, name) is None:
                    field = "segment_id" if kind == "segment" else kind
                    yield Violation(f"{place}.{field}", f"{kind} {name!r} does not exist", "UNKNOWN_REFERENCE")
            if segment is not None and window.record_type and segment.record_type != window.record_type:
                text = f"the segment {window.segment_id!r} is for records of type {segment.record_type!r}"
                yield Violation(f"{place}.record_type", text)
            key = (duration_us, window.record_type, window.segment_id)
            if key in seen:
                yield Violation(place, "the same window comes twice")
            seen.add(key)

    def _attributes(self, before: Seller, message: seller_pb2.Seller, mask: set[str], path: str) -> dict[str, Any]:
        """Return the attributes as they will be: those of the mask are replaced, one that is named but not given goes."""
        given: dict[str, Any] = {}
        for name, value in message.attributes.items():
            if name not in self._declared:
                text = f"{name!r} is not declared in the settings' seller_fields"
                self.violations.append(Violation(f"{path}.{name}", text, "UNKNOWN_FIELD"))
                continue
            try:
                given[name] = to_stored(value, self._declared[name])
            except ValueError as error:
                self.violations.append(Violation(f"{path}.{name}", str(error), "WRONG_TYPE"))
        return {name: value for name, value in _merged(before.attributes, given, mask, "attributes").items() if value is not None}

    def _skills(self, before: Seller, message: seller_pb2.Seller, mask: set[str], path: str) -> dict[str, int]:
        for name, grade in message.skills.items():
            if (fault := field_id_fault(name)) is not None:
                self.violations.append(Violation(f"{path}.{name}", fault, "INVALID_ID"))
            if not 0 <= grade <= HIGHEST_GRADE:
                text = f"{grade} is not between 1 and {HIGHEST_GRADE} (0 removes the skill)"
                self.violations.append(Violation(f"{path}.{name}", text))
        return {name: grade for name, grade in _merged(before.skills, message.skills, mask, "skills").items() if grade}

    def last_assigned(self, message: seller_pb2.Seller, path: str) -> None:
        """Note what is wrong with the turns that a new seller brings along."""
        for record_type, last in message.last_assigned.items():
            place = f"{path}.seller.last_assigned.{record_type}"
            if record_type not in self._config.record_types:
                text = f"record type {record_type!r} is not declared"
                self.violations.append(Violation(place, text, "UNKNOWN_RECORD_TYPE"))
            if not 0 <= last.order <= LARGEST_ORDER:
                self.violations.append(Violation(f"{place}.order", f"{last.order} is not between 0 and {LARGEST_ORDER}"))
            if (fault := instant_fault(last.time)) is not None:
                self.violations.append(Violation(f"{place}.time", fault))


def _merged(before: Mapping[str, Any], given: Mapping[str, Any], mask: set[str], head: str) -> dict[str, Any]:
    """Return a map after a write: replaced if the mask has its name, else only the keys that the mask names."""
    if head in mask:
        return dict(given)
    named = {path.partition(".")[2] for path in mask if path.startswith(f"{head}.")}
    return {**before, **{name: given.get(name) for name in named}}
