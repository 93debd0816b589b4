"""What travels between the server and its workers: a task, and the plan that answers it. Plain columns, cheap to hand over."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from reallot.storage.entities import Json


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


@dataclass
class Plan:
    """Decisions by record, in parallel lists, in the order in which they are committed.

    Attributes:
        config_version: Version of the configuration that was read.
        record_id, version, generation: The record as read; generation 0 = it had no pending mark.
        segment_id: Segment it will be in, "" = none.
        segmentation: Status of segmenting, "" = it was not segmented.
        assignment: Status of assigning, "" = stays as it is.
        touches_owner: The owner becomes `seller_id`, or nobody if that is "".
        seller_id, rule_id, reason: What was decided.
        former_seller_id: Seller who owned it when it was read, "" = none.
        binding: The seller's maxima hold.
        tried: An attempt to find an owner was made.
        overdue: The record falls overdue.
        quiet: Nobody is enrolled or notified.
        trace: Position in `traces`, -1 = none.
        cause: Why.
        traces: What rules made of classes of records, as JSON documents.
        levels: Level id, value, bound.
    """

    config_version: int
    record_id: list[str] = field(default_factory=list)
    version: list[int] = field(default_factory=list)
    generation: list[int] = field(default_factory=list)
    segment_id: list[str] = field(default_factory=list)
    segmentation: list[str] = field(default_factory=list)
    assignment: list[str] = field(default_factory=list)
    touches_owner: list[bool] = field(default_factory=list)
    seller_id: list[str] = field(default_factory=list)
    former_seller_id: list[str] = field(default_factory=list)
    rule_id: list[str] = field(default_factory=list)
    reason: list[str] = field(default_factory=list)
    binding: list[bool] = field(default_factory=list)
    tried: list[bool] = field(default_factory=list)
    overdue: list[bool] = field(default_factory=list)
    quiet: list[bool] = field(default_factory=list)
    trace: list[int] = field(default_factory=list)
    cause: list[Json] = field(default_factory=list)
    traces: list[Json] = field(default_factory=list)
    levels: list[tuple[str, int, int | None]] = field(default_factory=list)
    termination: tuple[str, str] = ("", "")
    solver: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.record_id)

    def add(self, **values: Any) -> None:
        """Add one row; every column is given."""
        for name in ROW_COLUMNS:
            getattr(self, name).append(values[name])

    def pieces(self, rows: int) -> Iterator["Plan"]:
        """Yield the plan in parts of at most `rows` rows and traces, which `extend` puts together again; there is at least one.

        Unpacking one object with all the rows of a large run would stop the event loop of whoever receives it.
        """
        longest = max(len(self.record_id), len(self.traces), 1)
        for start in range(0, longest, rows):
            columns = {name: getattr(self, name)[start : start + rows] for name in (*ROW_COLUMNS, "traces")}
            whole = {name: getattr(self, name) for name in _WHOLE} if start == 0 else {"config_version": self.config_version}
            yield Plan(**whole, **columns)

    def extend(self, other: "Plan") -> None:
        """Add the rows and traces of the next part."""
        for name in (*ROW_COLUMNS, "traces"):
            getattr(self, name).extend(getattr(other, name))


_WHOLE = ("config_version", "levels", "termination", "solver", "seconds")
ROW_COLUMNS = tuple(f.name for f in fields(Plan) if f.name not in (*_WHOLE, "traces"))
"""The columns with one value a record."""
