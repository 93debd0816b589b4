"""The sellers of a workspace as columns: who may take what, as things stood before the batch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from reallot.server.convert.sellers import calendar_of, maximum_of, reserves_of
from reallot.server.convert.values import to_stored
from reallot.server.group_config import GROUP_KINDS
from reallot.server.workspace_config import RuleConfig, WorkspaceConfig
from reallot.solver.assignment.problem import Ints
from reallot.solver.calendars import DAY_US, Availability, Calendar, first_available
from reallot.solver.segmentation import NEVER, frame_of
from reallot.storage import ReadTransaction
from reallot.storage.entities import Gain, Load, Owner, OwnerKind, Reserve, Seller, TimeOff, Turn, Window
from reallot.storage.shares import Share
from reallot.storage.windows import room_in_window, windows_of

YEAR_US = 366 * DAY_US


@dataclass(frozen=True)
class Pool:
    """m sellers, by id, with what they carry; behind them stand the teams and queues that take part, which carry nothing.

    `loads` may hold, below 0, what the batch itself takes off them; `silent` are those who let offers run out and are out of the pool.
    Without `stands_in` nobody takes what others would get. `timers` say when sellers may next have more room with the clock alone.
    """

    config: WorkspaceConfig
    sellers: Sequence[Seller]
    loads: Sequence[Load]
    turns: Sequence[Turn]
    time_off: Sequence[TimeOff]
    now_us: int
    gains: Sequence[Gain]
    silent: frozenset[str]
    stands_in: bool = True
    shares: Sequence[Share] = ()
    rule_turns: Sequence[Turn] = ()
    """Turns by rule, where each has an order of its own."""
    timers: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def read(tx: ReadTransaction, config: WorkspaceConfig, now_us: int) -> "Pool":
        """Return the sellers of a workspace as they stand."""
        workspace = config.workspace
        sellers = list(tx.sellers.get(workspace).values())
        windows = {seller.seller_id: windows_of(seller.capacity) for seller in sellers if seller.capacity.get("windows")}
        return Pool(
            config=config,
            sellers=sellers,
            loads=tx.sellers.loads(workspace),
            turns=tx.sellers.turns(workspace),
            time_off=tx.sellers.time_off(workspace, now_us),
            now_us=now_us,
            gains=tx.sellers.windows.gains(workspace, windows, now_us),
            silent=silent_sellers(tx, workspace),
            shares=tx.shares.of(workspace, config.sharing_rules),
            rule_turns=tx.sellers.rule_turns(workspace) if config.turns_by_rule else (),
            timers=tx.sellers.windows.timers(workspace),
        )

    @cached_property
    def place(self) -> Mapping[str, int]:
        """Position of each seller by id."""
        return {seller.seller_id: index for index, seller in enumerate(self.sellers)}

    @cached_property
    def groups(self) -> Sequence[Owner]:
        """Teams, then queues that take part, each by id: at the places from m on."""
        return [Owner(OwnerKind(kind.upper()), name) for kind in GROUP_KINDS for name in self.config.groups[kind]]

    def groups_of(self, kind: str) -> list[int]:
        """Return the places of the teams, or queues, that take part, by id."""
        return [place for place, owner in enumerate(self.groups, len(self.sellers)) if owner.kind == kind.upper()]

    def owner_at(self, place: int) -> Owner:
        """Return the seller, team or queue at a place."""
        if place < len(self.sellers):
            return Owner(OwnerKind.SELLER, self.sellers[place].seller_id)
        return self.groups[place - len(self.sellers)]

    def place_of(self, kind: str, name: str) -> int:
        """Return the place of a seller, team or queue; -1 = none that could take a record."""
        if kind == OwnerKind.SELLER:
            place = self.place.get(name, -1)
            return place if place >= 0 and self.assignable[place] and self.roles_ok[place] else -1
        return self._group_place.get((kind, name), -1)

    @cached_property
    def _group_place(self) -> Mapping[tuple[str, str], int]:
        return {(owner.kind.value, owner.id): place for place, owner in enumerate(self.groups, len(self.sellers))}

    def group_frame(self, kind: str) -> pl.DataFrame:
        """Return the teams, or queues, that take part as columns for conditions."""
        schema = self.config.group_schemas[kind]
        rows = [
            {name: to_stored(value, schema.by_id[name].type) for name, value in message.attributes.items()} | {f"{kind}_id": group_id}
            for group_id, message in self.config.groups[kind].items()
        ]
        return frame_of(kind, schema, rows)

    @cached_property
    def assignable(self) -> npt.NDArray[np.bool_]:
        """Switched on: bool, shape (m,)."""
        return np.array([seller.assignable for seller in self.sellers], dtype=np.bool_)

    @cached_property
    def responds(self) -> npt.NDArray[np.bool_]:
        """Has not let offers run out: bool, shape (m,)."""
        return np.array([seller.seller_id not in self.silent for seller in self.sellers], dtype=np.bool_)

    @cached_property
    def roles_ok(self) -> npt.NDArray[np.bool_]:
        """The role may own records: bool, shape (m,)."""
        return np.array([seller.roles_ok for seller in self.sellers], dtype=np.bool_)

    @cached_property
    def priority(self) -> Ints:
        """Priority: int64, shape (m,)."""
        return np.array([seller.priority for seller in self.sellers], dtype=np.int64)

    @cached_property
    def weight(self) -> Ints:
        """Weight in shares: int64, shape (m,)."""
        return np.array([seller.weight for seller in self.sellers], dtype=np.int64)

    @cached_property
    def turn(self) -> Ints:
        """Number of the last unit of a counted type, 0 = never: int64, shape (m,)."""
        return self._latest(self.turns)

    def turn_by(self, rule_id: str) -> Ints:
        """Return the number of the last unit of a counted type that a rule gave, or none did, 0 = never: int64, shape (m,)."""
        return self._latest([turn for turn in self.rule_turns if turn.rule_id in ("", rule_id)])

    def _latest(self, turns: Sequence[Turn]) -> Ints:
        latest = np.zeros(len(self.sellers), dtype=np.int64)
        for turn in turns:
            if turn.record_type in self.config.counted_types and turn.seller_id in self.place:
                index = self.place[turn.seller_id]
                latest[index] = max(int(latest[index]), turn.order)
        return latest

    @cached_property
    def held(self) -> Mapping[tuple[int, str, str], int]:
        """Effort by seller, record type and segment."""
        found: dict[tuple[int, str, str], int] = {}
        for load in self.loads:
            if load.seller_id in self.place:
                key = (self.place[load.seller_id], load.record_type, load.segment_id)
                found[key] = found.get(key, 0) + load.effort
        return found

    @cached_property
    def owned(self) -> Ints:
        """Active records of counted types that each seller owns: int64, shape (m,)."""
        count = np.zeros(len(self.sellers), dtype=np.int64)
        for load in self.loads:
            if load.seller_id in self.place and load.record_type in self.config.counted_types:
                count[self.place[load.seller_id]] += load.records
        return np.maximum(count, 0)

    @cached_property
    def free(self) -> Ints:
        """Free capacity over all counted types; may be below 0: int64, shape (m,)."""
        room = np.array([maximum_of(seller, self.config, self.now_us) for seller in self.sellers], dtype=np.int64)
        for (index, record_type, _), effort in self.held.items():
            if record_type in self.config.counted_types:
                room[index] -= effort
        return room

    @cached_property
    def windows(self) -> Sequence[tuple[int, Window, int]]:
        """Rolling windows of the sellers: place of the seller, the window, and what it leaves, which may be below 0."""
        given: dict[str, list[Gain]] = {}
        for gain in self.gains:
            given.setdefault(gain.seller_id, []).append(gain)
        return [
            (index, window, room_in_window(window, given.get(seller.seller_id, ()), self.now_us))
            for index, seller in enumerate(self.sellers)
            for window in windows_of(seller.capacity)
        ]

    @cached_property
    def room(self) -> Ints:
        """What each seller can take of any kind: what is free, as far as the windows over all kinds leave it: int64, shape (m,)."""
        room = self.free.copy()
        for index, window, left in self.windows:
            if not window.record_type and not window.segment_id:
                room[index] = min(int(room[index]), left)
        return room

    def room_for(self, record_type: str, segment_id: str) -> Ints:
        """Return what each seller can take of a segment's records: int64, shape (m,)."""
        room = self.room.copy()
        reserves = (free for reserve, free in self.reserves(record_type) if segment_id not in reserve)
        for limited in (self.free_in("record_type", record_type), *reserves, self.free_in("segment", segment_id)):
            for index, free in limited.items():
                room[index] = min(int(room[index]), free)
        return room

    def free_in(self, kind: str, name: str) -> dict[int, int]:
        """Return what sellers with a maximum or a window for a record type or segment can take there."""
        key = f"by_{kind}"
        room = {
            index: int(seller.capacity[key][name]) for index, seller in enumerate(self.sellers) if name in (seller.capacity.get(key) or {})
        }
        part = 1 if kind == "record_type" else 2
        for place, effort in self.held.items():
            if place[0] in room and place[part] == name:
                room[place[0]] -= effort
        for index, window, left in self.windows:
            # A segment is of one record type.
            if name == (window.segment_id if kind == "segment" else "" if window.segment_id else window.record_type):
                room[index] = min(room.get(index, left), left)
        return room

    def reserves(self, record_type: str) -> list[tuple[frozenset[str], dict[int, int]]]:
        """Return what sellers keep for segments of a record type: the segments, and what the sellers can take outside them.

        The segments come in the order in which they are looked at, so that each lies in the next.
        """
        found: dict[frozenset[str], dict[int, int]] = {}
        for index, reserve in self._reserves:
            if reserve.record_type == record_type:
                found.setdefault(reserve.kept_for, {})[index] = reserve.most - self._counted(index, reserve)
        return sorted(found.items(), key=lambda item: len(item[0]))

    @cached_property
    def _reserves(self) -> list[tuple[int, Reserve]]:
        sellers = [(index, seller) for index, seller in enumerate(self.sellers) if seller.capacity.get("reserved")]
        return [(index, reserve) for index, seller in sellers for reserve in reserves_of(seller, self.config, self.now_us)]

    def _counted(self, index: int, reserve: Reserve) -> int:
        held = ((t, s, effort) for (place, t, s), effort in self.held.items() if place == index and t in self.config.counted_types)
        return sum(effort for t, s, effort in held if reserve.counts(t, s))

    @cached_property
    def bucket(self) -> npt.NDArray[np.int8]:
        """Availability, 0 = now: int8, shape (m,)."""
        return self.available.bucket

    @cached_property
    def available(self) -> Availability:
        """When each is available within the days that rules look at."""
        return Availability.of(self.calendars, self.now_us)

    def works_later_us(self, place: int) -> int:
        """Return when a seller works for the first time within a year; NEVER = not then."""
        calendar = self.calendars[place]
        found = first_available(calendar, self.now_us, YEAR_US) if calendar is not None else self.now_us
        return found if found >= 0 else NEVER

    @cached_property
    def frees_us(self) -> Ints:
        """When each may next have more room with the clock alone, NEVER where that is not known: int64, shape (m,)."""
        return np.array([self.timers.get(seller.seller_id, NEVER) for seller in self.sellers], dtype=np.int64)

    @cached_property
    def full_again_us(self) -> Ints:
        """When what each is given now leaves the first rolling window, NEVER where there is none: int64, shape (m,)."""
        found = [min((w.duration_us for w in windows_of(s.capacity)), default=None) for s in self.sellers]
        return np.array([NEVER if length is None else self.now_us + length for length in found], dtype=np.int64)

    @cached_property
    def hands_over_us(self) -> Ints:
        """When somebody else may next take each one's place, or the other way round, NEVER where that is not foreseen: int64, (m,)."""
        borders: dict[str, int] = {}
        for row in self.time_off:
            border = row.start_us if row.start_us > self.now_us else row.end_us
            borders[row.seller_id] = min(borders.get(row.seller_id, NEVER), border)
        found = np.full(len(self.sellers), NEVER, dtype=np.int64)
        for place, seller in enumerate(self.sellers):
            if not (self.stands_in and seller.stand_in_id):
                continue
            at, passed = seller.seller_id, set[str]()
            while at and at not in passed:
                passed.add(at)
                at = self.sellers[self.place[at]].stand_in_id if at in self.place else ""
            found[place] = min((borders.get(name, NEVER) for name in passed), default=NEVER)
        # Who takes another's place at present gives it back then.
        for place in np.flatnonzero(self.stand_in >= 0).tolist():
            taker = self.stand_in[place]
            found[taker] = min(found[taker], found[place])
        return found

    @cached_property
    def calendars(self) -> list[Calendar | None]:
        """When each works, absences left out; None = always."""
        away: dict[str, list[tuple[int, int]]] = {}
        for absence in self.time_off:
            away.setdefault(absence.seller_id, []).append((absence.start_us, absence.end_us))
        return [calendar_of(s.calendar, tuple(away.get(s.seller_id, ()))) for s in self.sellers]

    @cached_property
    def stand_in(self) -> npt.NDArray[np.int32]:
        """Who takes what a seller who is away would get, at the end of a chain of stand-ins who are away, too; -1 = nobody else: (m,)."""
        away = {row.seller_id for row in self.time_off if row.start_us <= self.now_us < row.end_us} if self.stands_in else set()
        found = np.full(len(self.sellers), -1, dtype=np.int32)
        for seller_id in away & self.place.keys():
            at, passed = seller_id, {""}
            while at in away and at not in passed:
                passed.add(at)
                at = self.sellers[self.place[at]].stand_in_id if at in self.place else ""
            # A chain that comes back to itself ends with nobody, as one does whose end is gone.
            found[self.place[seller_id]] = self.place.get(at, -1) if at not in passed else -1
        return found

    @cached_property
    def members(self) -> Mapping[str, npt.NDArray[np.int32]]:
        """Sellers by team: int32, ascending."""
        found: dict[str, list[int]] = {}
        for index, seller in enumerate(self.sellers):
            for team in seller.team_ids:
                found.setdefault(team, []).append(index)
        return {team: np.array(rows, dtype=np.int32) for team, rows in found.items()}

    def listed(self, rule: RuleConfig) -> npt.NDArray[np.int32]:
        """Return the sellers of a target that is no condition, ascending."""
        target = rule.message.target
        if target.WhichOneof("kind") == "sellers":
            listed = [self.place[s] for s in target.sellers.seller_ids if s in self.place]
            teams = [self.members.get(team, np.zeros(0, dtype=np.int32)) for team in target.sellers.team_ids]
            return np.unique(np.concatenate([np.array(listed, dtype=np.int32), *teams])).astype(np.int32)
        return np.arange(len(self.sellers), dtype=np.int32)

    def frame(self, skills: Iterable[str]) -> pl.DataFrame:
        """Return the sellers as columns for conditions."""
        rows: list[dict[str, Any]] = [
            {**seller.attributes, "seller_id": seller.seller_id, "teams": list(seller.team_ids), "skills": seller.skills}
            for seller in self.sellers
        ]
        return frame_of("seller", self.config.seller_schema, rows, skills=sorted(set(skills)))


def silent_sellers(tx: ReadTransaction, workspace: str) -> frozenset[str]:
    """Return the sellers who let offers run out and are out of the pool."""
    return frozenset(seller_id for seller_id, row in tx.offers.unanswered(workspace).items() if row.since_us is not None)
