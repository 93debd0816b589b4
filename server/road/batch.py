"""What travels between the server and its workers: a task, and the plan that answers it, with moves written up for the tables."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from reallot.storage.entities import Json
from reallot.storage.moves import Move, Pattern
from reallot.storage.packing import PackedMoves, pack, unpack
from reallot.storage.prepared import PreparedMoves, prepare
from reallot.storage.rechecks import Recheck
from reallot.storage.shares import SharePool

CHUNK = 2_000
"""Most moves in one piece, so that other writers pass in between."""


Place = tuple[int, int, str]
"""Where a record stands among those that wait: priority, age, id; higher priorities first, then smaller ages and ids."""


@dataclass(frozen=True)
class Task:
    """A pass over some records.

    Attributes:
        workspace: The workspace.
        now_us: The present instant.
        kind: "INTAKE" for pending records, else the run's kind.
        record_ids: The pending records of an intake.
        selection: A serialised `RunSelection` of a run.
        limit: Most records that may be assigned, 0 = no limit.
        run_id: The run.
        cause: Why; pending records have causes of their own.
        most: Most records in this batch of a run, 0 = all at once: those that come first, by priority and age.
        after: The last record of the batch before.
        seed: Seed of what is drawn at random.
        sequential: Time has run out: give the plan of the sequential rule.
        reopens: Records that sellers own are taken, too, and decided as if nobody had them.
        forgets: What an intake is planned from is not to be kept.
        applies: The run was previewed: each record goes where it was shown, or stays.
    """

    workspace: str
    now_us: int
    kind: str
    run_id: str
    record_ids: tuple[str, ...] = ()
    selection: bytes = b""
    limit: int = 0
    cause: Json = None
    most: int = 0
    after: Place | None = None
    seed: int = 0
    sequential: bool = False
    reopens: bool = False
    forgets: bool = False
    applies: bool = False

    @property
    def is_kept(self) -> bool:
        """What it is planned from is kept."""
        return self.kind != "WHAT_IF" and not self.forgets


@dataclass(frozen=True)
class Plan:
    """What was decided about a task as a whole; what becomes of its records follows as moves.

    Attributes:
        config_version: Version of the configuration that was read.
        records: Number of moves.
        turns: Number of turns that its moves take.
        undecided: Records of an intake about which there is nothing to decide: not active any more, or of a type that is gone.
        flooded: Sellers who get one digest instead of a notice for each record.
        levels: Level id, value, bound.
        termination: Reason and limit.
        solver: Figures of the solver.
        seconds: Seconds by stage.
        rechecks: When answers about records that were segmented can change with the clock alone.
        tries: When records that it leaves waiting are tried again because somebody works then.
        next_after: Last record of this batch, if the run has more.
        digest: Hash over the plan.
        input: What it was planned from, to be kept; empty = it is not to be.
    """

    config_version: int
    records: int
    turns: int = 0
    undecided: frozenset[str] = frozenset()
    flooded: frozenset[str] = frozenset()
    levels: tuple[tuple[str, int, int | None], ...] = ()
    termination: tuple[str, str] = ("", "")
    solver: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    rechecks: tuple[Recheck, ...] = ()
    tries: tuple[int, ...] = ()
    next_after: Place | None = None
    digest: str = ""
    input: bytes = b""


class Handed(NamedTuple):
    """Moves of which flooded sellers would be told: those who lose the records, and those who gain them."""

    losers: tuple[str, ...]
    gainers: tuple[str, ...]
    record_ids: tuple[str, ...]


class Tally(NamedTuple):
    """What moves come to.

    Attributes:
        counts: How many raise each counter by one.
        freed: Sellers who may have more room than before.
        told: Moves of which flooded sellers would be told.
        given: Pool, seller, and how many records, or how much value, the seller is given from it by shares.
    """

    counts: Mapping[str, int]
    freed: frozenset[str]
    told: tuple[Handed, ...]
    given: tuple[tuple[int, str, int], ...] = ()


def tally(moves: Sequence[Move], flooded: Set[str]) -> Tally:
    """Return what moves come to; the sellers in `flooded` get one digest instead of notices."""
    patterns = {id(move.pattern): move.pattern for move in moves}
    counts: Counter[str] = Counter()
    for key, number in Counter([id(move.pattern) for move in moves]).items():
        for name in patterns[key].counted:
            counts[name] += number
    told = {}
    for key, pattern in patterns.items():
        old, new = _told_parties(pattern, flooded)
        if old != new:
            told[key] = (old, new)
    handed = defaultdict(list)
    for move in moves:
        if id(move.pattern) in told:
            handed[told[id(move.pattern)]].append(move.record_id)
    lines = tuple(Handed(*sides, tuple(record_ids)) for sides, record_ids in handed.items())
    freed = frozenset(p.weight.place[0] for p in patterns.values() if p.frees and p.weight is not None)
    shares = any(pattern.pool >= 0 for pattern in patterns.values())
    return Tally(counts, freed, lines, _given(moves) if shares else ())


def _given(moves: Sequence[Move]) -> tuple[tuple[int, str, int], ...]:
    given: Counter[tuple[int, str]] = Counter()
    for move in moves:
        if move.pattern.pool >= 0 and move.pattern.turn is not None:
            given[move.pattern.pool, move.pattern.turn.seller_id] += move.amount
    return tuple((pool, seller, amount) for (pool, seller), amount in sorted(given.items()))


def _told_parties(pattern: Pattern, flooded: Set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the flooded sellers on the old and on the new owner's side who would be told."""
    told = flooded & set(pattern.event.notify) if flooded and pattern.event is not None else frozenset()
    old, new = (tuple(seller for seller in side if seller in told) for side in pattern.parties)
    return old, new


@dataclass(frozen=True, slots=True)
class Piece:
    """Some moves of a plan, for one commit.

    Attributes:
        size: How many there are.
        packed: One by one.
        prepared: All of them as rows, for a commit that finds everything as the plan did; None if they cannot be prepared.
        tally: What all of them come to.
        pools: From which their plan gives by shares.
    """

    size: int
    packed: PackedMoves
    prepared: PreparedMoves | None
    tally: Tally
    pools: tuple[SharePool, ...] = ()

    @classmethod
    def of(cls, moves: Sequence[Move], flooded: Set[str], pools: tuple[SharePool, ...] = ()) -> "Piece":
        """Return moves as a piece; the sellers in `flooded` get one digest instead of notices."""
        return cls(len(moves), pack(moves), prepare(moves, flooded), tally(moves, flooded), pools)

    @property
    def moves(self) -> Sequence[Move]:
        """The moves, in the order of their turns; built at every call."""
        return unpack(self.packed)


class Planned:
    """A plan with its moves, which come in pieces of one commit each, in the order in which they are committed."""

    def __init__(self, plan: Plan, pieces: AsyncIterator[Piece]) -> None:
        self.plan = plan
        self.pieces = pieces
