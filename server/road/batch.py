"""What travels between the server and its workers: a task, and the plan that answers it, with moves written up for the tables."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from reallot.storage.entities import Json
from reallot.storage.moves import Move

CHUNK = 2_000
"""Most moves in one piece, so that other writers pass in between."""


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
        sequential: Time has run out: give the plan of the sequential rule.
    """

    workspace: str
    now_us: int
    kind: str
    run_id: str
    record_ids: tuple[str, ...] = ()
    selection: bytes = b""
    limit: int = 0
    cause: Json = None
    sequential: bool = False


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


class Planned:
    """A plan with its moves, which come in pieces of one commit each, in the order in which they are committed."""

    def __init__(self, plan: Plan, pieces: AsyncIterator[list[Move]]) -> None:
        self.plan = plan
        self.pieces = pieces
