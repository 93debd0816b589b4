"""A number over a record and a seller, such as a score, ready to be evaluated over columns."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from reallot.solver.segmentation.cel import check_number
from reallot.solver.segmentation.condition import Read
from reallot.solver.segmentation.lowering import Lowering
from reallot.solver.segmentation.schema import Schema


@dataclass(frozen=True)
class Number:
    """A compiled number. Thread-safe.

    Attributes:
        text: As written.
        reads: The fields it reads.
        uses_now: Its value changes with the clock alone.
        column: Its value over a frame with columns `<root>.<field>`, a decimal; null where a field that it needs is missing.
    """

    text: str
    reads: frozenset[Read]
    uses_now: bool
    column: pl.Expr

    def fields(self, root: str) -> tuple[str, ...]:
        """Return the fields of one root that it reads, sorted."""
        return tuple(sorted(field for r, field in self.reads if r == root))


def compile_number(text: str, roots: Mapping[str, Schema]) -> Number:
    """Check and lower a number.

    Args:
        text: CEL, e.g. `seller.skills.enterprise * 10 + (seller.country == record.country ? 5 : 0)`.
        roots: Schemas of the names that may be used.

    Raises:
        ConditionError: it cannot be used; carries the place of the fault.
    """
    checked = check_number(text, roots)
    lowering = Lowering(checked, text, roots)
    column = lowering.lower(checked.expr).column.cast(pl.Float64)
    return Number(text, frozenset(lowering.reads), lowering.uses_now, column)
