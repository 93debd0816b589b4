"""Moves of a plan prepared as rows of the tables, for a commit that finds everything as the plan did.

Mostly nobody has touched the records of a plan since it was made, and everybody still has room. Then nothing is left to be decided
move by move, and what the worker has prepared is written as it is. Else nothing is written, and the moves are carried out one by one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import reduce
from operator import itemgetter, or_
from typing import Any, NamedTuple

from sqlalchemy import Connection

from reallot.storage import capacity
from reallot.storage.capacity import Weight
from reallot.storage.dialect import Savepoint, insert_rows, update_rows
from reallot.storage.entities import Limits, Turn
from reallot.storage.moves import STAMPS, STATE, DecisionText, Move, Pattern, Taken, step_looks_of
from reallot.storage.numbering import EVENT_ROW, EventBuffer, EventRows
from reallot.storage.pending import PendingRepository
from reallot.storage.sellers import SellerRepository
from reallot.storage.steps import StepLook
from reallot.storage.tables import decisions, records

Row = tuple[Any, ...]


class Rows(NamedTuple):
    """Rows of a table: what is the same in all of them is said once.

    Attributes:
        same: Values of the columns that are the same in all rows.
        columns: The other columns.
        values: Their values, row by row.
    """

    same: Mapping[str, Any]
    columns: tuple[str, ...]
    values: Sequence[Row]

    @classmethod
    def of(cls, columns: Sequence[str], values: Sequence[Row], key: int) -> "Rows":
        """Return rows, of which the last `key` columns differ from row to row."""
        if not values:
            return cls({}, tuple(columns), [])
        by_column = list(zip(*values, strict=True))
        alike = [place for place, (first, *_) in enumerate(by_column[: len(columns) - key]) if by_column[place].count(first) == len(values)]
        kept = sorted(set(range(len(columns))).difference(alike))
        same = {columns[place]: by_column[place][0] for place in alike}
        return cls(same, tuple(columns[place] for place in kept), list(zip(*(by_column[place] for place in kept), strict=True)))


@dataclass(frozen=True, slots=True)
class PreparedMoves:
    """Moves of different records, all of which are carried out or none.

    Attributes:
        shifts: Weight before, weight after, whether the maxima of the new owner hold, and how many moves shift just so.
        turns: The last turn that each seller takes of a record type, with its place among those of the plan.
        records: What changes of records, by record: the columns of the road, then the record and the version that must be stored.
        decisions: Lines of the log, by record.
        events: Events without number and instant, in the order of the moves.
        notices: Position among the events, seller and kind.
        marks: Record and generation of pending marks that are cleared.
        looks: Records whose steps are to be looked at.
    """

    shifts: Sequence[tuple[Weight | None, Weight | None, bool, int]]
    turns: Sequence[tuple[Taken, int]]
    records: Rows
    decisions: Rows
    events: Rows
    notices: Sequence[tuple[int, str, str]]
    marks: Sequence[tuple[str, int]]
    looks: Sequence[StepLook]

    @property
    def takers(self) -> set[str]:
        """Sellers who get something."""
        return {taken.seller_id for taken, _ in self.turns}


def prepare(moves: Sequence[Move], untold: Set[str] = frozenset()) -> PreparedMoves | None:
    """Prepare moves, of whose events the sellers `untold` get no notices; None if they touch more than the columns of the road."""
    patterns = {id(move.pattern): move.pattern for move in moves}
    if not moves or not all(_is_plain(pattern) for pattern in patterns.values()) or any(move.mark is not None for move in moves):
        return None
    by_id = sorted(moves, key=itemgetter(0))
    shifts: Counter[tuple[Weight | None, Weight | None, bool]] = Counter()
    for key, times in Counter([id(move.pattern) for move in moves]).items():
        pattern = patterns[key]
        shifts[pattern.weight, pattern.weight_after, pattern.binding] += times
    places = sorted((move.place, move.pattern.turn) for move in moves if move.pattern.turn is not None)
    told = [(move, move.pattern.event) for move in moves if move.pattern.event is not None]
    lines = {key: tuple(pattern.decision or ())[1:] for key, pattern in patterns.items()}
    logged = [(*lines[id(move.pattern)], move.considered, move.record_id) for move in by_id]
    return PreparedMoves(
        shifts=[(*shift, times) for shift, times in shifts.items()],
        turns=list({turn: place for place, turn in places}.items()),
        records=_rows(patterns, by_id),
        decisions=Rows.of((*DecisionText._fields[1:], "considered", "record_id"), logged, 1),
        events=Rows.of(EVENT_ROW, [(*event[1:-1], move.sentence, move.record_id) for move, event in told], 1),
        notices=[(at, seller, event.kind) for at, (_, event) in enumerate(told) for seller in event.notify if seller not in untold],
        marks=[(move.record_id, move.generation) for move in by_id if move.generation],
        looks=step_looks_of(by_id),
    )


def _is_plain(pattern: Pattern) -> bool:
    """Tell whether a pattern changes an existing record as runs do: what the road writes, logged, without enrollments and offers."""
    stays = pattern.version is not None and pattern.written is None and bool(pattern.state)
    return stays and pattern.offer is None and pattern.ends is None and pattern.starts is None and pattern.decision is not None


def _rows(patterns: Mapping[int, Pattern], by_id: Sequence[Move]) -> Rows:
    changes = reduce(or_, (pattern.changes for pattern in patterns.values()))
    places = [place for place in range(len(STATE)) if changes >> place & 1]
    state = itemgetter(*places) if len(places) > 1 else lambda values: [values[place] for place in places]
    shared = {key: (p.next_version, *state(p.state), *p.stamps) for key, p in patterns.items()}
    rows = [(*shared[id(m.pattern)], m.waiting_since_us, m.record_id, m.pattern.version) for m in by_id]
    return Rows.of(("version", *(STATE[place] for place in places), *STAMPS, "record_id", "version"), rows, 2)


def carry_out(
    connection: Connection,
    workspace: str,
    prepared: PreparedMoves,
    limits: Mapping[str, Limits],
    now_us: int,
    first_turn: int,
    buffer: EventBuffer,
    sellers: SellerRepository,
) -> bool:
    """Carry out prepared moves, whose turns are numbered from `first_turn`; return False, with nothing written, if one cannot be.

    `limits` are those of the sellers that exist.
    """
    if not prepared.takers <= limits.keys():
        return False
    burdened = {weight.place[0] for shift in prepared.shifts for weight in shift[:2] if weight is not None}
    windows = {seller: limits[seller].windows for seller in prepared.takers if limits[seller].windows}
    account = capacity.open_account(connection, workspace, burdened, windows, now_us)
    claims = [(before, after, limits[after.place[0]] if binding and after else None, n) for before, after, binding, n in prepared.shifts]
    within, (same, columns, values) = {"workspace": workspace}, prepared.records
    if not capacity.settle_together(account, claims):
        return False
    savepoint = Savepoint(connection, "moves")
    updated = update_rows(connection, records, columns[-2:], columns[:-2], values, {**same, "update_us": now_us}, within)
    if updated != len(values):
        savepoint.go_back()
        return False
    savepoint.keep()
    capacity.store(connection, workspace, account)
    turns = [Turn(t.seller_id, t.record_type, first_turn + place, now_us, t.rule_id) for t, place in prepared.turns]
    sellers.take_turns(workspace, turns)
    if windows:
        given: Counter[capacity.Place] = Counter()
        for before, after, _, times in prepared.shifts:
            if after is not None and capacity.gains(before, after):
                given[after.place] += after.effort * times
        sellers.windows.add(workspace, windows, given, now_us)
    PendingRepository(connection).clear(workspace, prepared.marks)
    lines = prepared.decisions
    insert_rows(connection, decisions, lines.columns, lines.values, {**within, **lines.same, "time_us": now_us})
    buffer.add_rows(workspace, EventRows(now_us, *prepared.events, prepared.notices))
    return True
