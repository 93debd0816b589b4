"""Rolling windows of capacity: what sellers were given lately, and when the clock gives them more room, within one transaction.

A gain is a unit that comes to a seller who did not have it: by a rule, by hand, by a claim, or made by the seller. An offer and a claim
are gains from when they begin, and none any more once they end without being accepted. Gains are written down for sellers whose capacity
has windows only. Whoever gets a first window, or a longer one, has the gains of that time read from the log of decisions.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, or_, select

from reallot.storage.among import among, named, these
from reallot.storage.dialect import fetched, upsert_rows
from reallot.storage.documents import load
from reallot.storage.entities import Gain, Json, Window
from reallot.storage.tables import capacity_timers, decisions, gains, records, sellers

Place = tuple[str, str, str]
"""Seller, record type, segment."""
_WITH_WINDOWS = select(sellers.c.seller_id, sellers.c.capacity).where(named(sellers, "seller_id"), sellers.c.capacity.like('%"windows"%'))
_TIMERS = select(capacity_timers.c.seller_id, capacity_timers.c.due_us).where(named(capacity_timers, "seller_id"))
_GAIN = ("workspace", "seller_id", "time_us", "record_type", "segment_id", "effort")


def windows_of(capacity: Mapping[str, Json]) -> tuple[Window, ...]:
    """Return the windows of a stored capacity."""
    return tuple(Window(**item) for item in capacity.get("windows") or ())


def longest(windows: Iterable[Window]) -> int:
    """Return the length of the longest window, 0 = there is none."""
    return max((window.duration_us for window in windows), default=0)


class WindowRepository:
    """Gains and timers of all workspaces. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.timers_set = False
        """A timer was set in this transaction."""

    def of(self, workspace: str, seller_ids: Iterable[str]) -> dict[str, tuple[Window, ...]]:
        """Return the windows of those of the sellers who have some."""
        ids = set(seller_ids)
        if not ids:
            return {}
        found = {name: windows_of(load(text)) for name, text in fetched(self._connection, _WITH_WINDOWS, these(workspace, ids))}
        return {name: windows for name, windows in found.items() if windows}

    def gains(self, workspace: str, windows: Mapping[str, Iterable[Window]], now_us: int) -> list[Gain]:
        """Return what lies in the windows of sellers, by seller and instant."""
        lengths = {name: longest(own) for name, own in windows.items()}
        if not any(lengths.values()):
            return []
        c = gains.c
        statement = select(c.seller_id, c.time_us, c.record_type, c.segment_id, c.effort).where(
            c.workspace == workspace, c.time_us > now_us - max(lengths.values()), among(c.seller_id, list(lengths))
        )
        found = (Gain(*row) for row in fetched(self._connection, statement.order_by(c.seller_id, c.time_us, c.record_type, c.segment_id)))
        return [gain for gain in found if gain.time_us > now_us - lengths[gain.seller_id]]

    def add(self, workspace: str, windows: Mapping[str, tuple[Window, ...]], given: Mapping[Place, int], now_us: int) -> None:
        """Write down units given at one instant to sellers with windows, and set their timers."""
        fresh = [
            Gain(place[0], now_us, *place[1:], effort) for place, effort in sorted(given.items()) if place[0] in windows and effort > 0
        ]
        if fresh:
            rows = [(workspace, g.seller_id, g.time_us, g.record_type, g.segment_id, g.effort) for g in fresh]
            upsert_rows(self._connection, gains, _GAIN, rows, add=("effort",))
            self._expect(workspace, windows, fresh, now_us)

    def take_back(self, workspace: str, given: Sequence[Gain]) -> None:
        """Take out what came to sellers only to be decided on, and was not taken by them."""
        if not given:
            return
        less: dict[tuple[str, int, str, str], int] = {}
        for gain in given:
            key = (gain.seller_id, gain.time_us, gain.record_type, gain.segment_id)
            less[key] = less.get(key, 0) - gain.effort
        upsert_rows(self._connection, gains, _GAIN, [(workspace, *key, effort) for key, effort in sorted(less.items())], add=("effort",))
        c = gains.c
        of_these = among(c.seller_id, sorted({gain.seller_id for gain in given}))
        self._connection.execute(delete(gains).where(c.workspace == workspace, of_these, c.effort <= 0))

    def recall(self, workspace: str, windows: Mapping[str, tuple[Window, ...]], now_us: int) -> None:
        """Write down anew, from the log of decisions, what lies in the windows of sellers; efforts are those of today."""
        if not windows:
            return
        self._connection.execute(delete(gains).where(gains.c.workspace == workspace, among(gains.c.seller_id, list(windows))))
        given: dict[tuple[str, int, str, str], int] = {}
        offered: dict[str, tuple[str, int, str, str]] = {}
        for record_id, time_us, cause, before, after, record_type, effort in self._logged(workspace, windows, now_us):
            old, new, why = load(before) or {}, load(after) or {}, load(cause) or {}
            taker, held = _holder(new), offered.pop(record_id, None)
            if held is not None and taker != held[0]:
                given[held] -= effort
            if taker in windows and taker != _holder(old) and not why.get("quiet"):
                key = (taker, time_us, record_type, new.get("segment_id", ""))
                given[key] = given.get(key, 0) + effort
                held = key
            if held is not None and taker == held[0] and not _owner(new):
                offered[record_id] = held
        found = [Gain(*key, effort) for key, effort in sorted(given.items()) if effort > 0]
        found = [gain for gain in found if gain.time_us > now_us - longest(windows[gain.seller_id])]
        rows = [(workspace, g.seller_id, g.time_us, g.record_type, g.segment_id, g.effort) for g in found]
        upsert_rows(self._connection, gains, _GAIN, rows)
        self._expect(workspace, windows, found, now_us)

    def _logged(self, workspace: str, windows: Mapping[str, tuple[Window, ...]], now_us: int) -> list[tuple[Any, ...]]:
        d, r = decisions.c, records.c
        since_us = now_us - max(longest(own) for own in windows.values())
        statement = (
            select(d.record_id, d.time_us, d.cause, d.before, d.after, r.record_type, r.effort)
            .select_from(decisions.join(records, (d.workspace == r.workspace) & (d.record_id == r.record_id)))
            .where(d.workspace == workspace, d.time_us > since_us)
            .where(or_(*(column.contains(part, autoescape=True) for column in (d.before, d.after) for part in _HELD)))
            .order_by(d.record_id, d.decision_id)
        )
        return fetched(self._connection, statement)

    def _expect(self, workspace: str, windows: Mapping[str, tuple[Window, ...]], found: Iterable[Gain], now_us: int) -> None:
        """Set the timers of sellers to the first instant at which one of these gains leaves a window."""
        due: dict[str, int] = {}
        for gain in found:
            for window in windows[gain.seller_id]:
                leaves_us = gain.time_us + window.duration_us
                if window.covers(gain.record_type, gain.segment_id) and leaves_us > now_us:
                    due[gain.seller_id] = min(due.get(gain.seller_id, leaves_us), leaves_us)
        self.set_timers(workspace, due)

    def set_timers(self, workspace: str, due: Mapping[str, int]) -> None:
        """Have the sellers looked at, at these instants or those that were set before, whichever come first."""
        if not due:
            return
        stored = dict(fetched(self._connection, _TIMERS, these(workspace, due)))
        rows = [(workspace, name, min(due_us, stored.get(name, due_us))) for name, due_us in sorted(due.items())]
        upsert_rows(self._connection, capacity_timers, ("workspace", "seller_id", "due_us"), rows)
        self.timers_set = True

    def timers(self, workspace: str) -> dict[str, int]:
        """Return when sellers may next have more room."""
        c = capacity_timers.c
        return dict(fetched(self._connection, select(c.seller_id, c.due_us).where(c.workspace == workspace)))

    def next_due(self) -> list[tuple[str, int]]:
        """Return the first instant at which a timer of each workspace is due."""
        c = capacity_timers.c
        return [
            (workspace, due_us)
            for workspace, due_us in fetched(self._connection, select(c.workspace, func.min(c.due_us)).group_by(c.workspace))
        ]

    def take_due(self, workspace: str, now_us: int, limit: int) -> list[str]:
        """Return up to `limit` sellers whose timers are due, and set these to the next instants; forget gains that are in no window."""
        c = capacity_timers.c
        due = select(c.seller_id).where(c.workspace == workspace, c.due_us <= now_us).order_by(c.due_us, c.seller_id).limit(limit)
        names = [name for (name,) in fetched(self._connection, due)]
        if not names:
            return []
        self._connection.execute(delete(capacity_timers).where(c.workspace == workspace, among(c.seller_id, names)))
        windows = dict.fromkeys(names, ()) | self.of(workspace, names)
        outside = [(gains.c.seller_id == name) & (gains.c.time_us <= now_us - longest(own)) for name, own in windows.items()]
        self._connection.execute(delete(gains).where(gains.c.workspace == workspace, or_(*outside)))
        self._expect(workspace, windows, self.gains(workspace, windows, now_us), now_us)
        return names

    def forget(self, workspace: str, seller_ids: Iterable[str]) -> None:
        """Remove what is known of sellers who are gone."""
        ids = list(seller_ids)
        for table in (gains, capacity_timers):
            self._connection.execute(delete(table).where(table.c.workspace == workspace, among(table.c.seller_id, ids)))


_HELD = ('"offered_seller_id"', '"owner":{"seller_id"')
"""What stands in a logged state in which a seller holds the record."""


def _owner(state: Json) -> str:
    """Return the owning seller of a state as it is logged, "" = none."""
    return str((state.get("owner") or {}).get("seller_id", ""))


def _holder(state: Json) -> str:
    """Return the seller who owns the record or has an offer of it in a state as it is logged, "" = none."""
    return _owner(state) or str(state.get("offered_seller_id", ""))


def room_in_window(window: Window, gained: Iterable[Gain], now_us: int) -> int:
    """Return what a window leaves of a seller's gains; below 0 where more was given than the window allows."""
    since_us = now_us - window.duration_us
    return window.count - sum(g.effort for g in gained if g.time_us > since_us and window.covers(g.record_type, g.segment_id))
