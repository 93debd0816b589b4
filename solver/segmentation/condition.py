"""A condition, ready to be evaluated over columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from reallot.solver.segmentation.cel import check
from reallot.solver.segmentation.errors import ConditionError
from reallot.solver.segmentation.lowering import Crossing, Lowering
from reallot.solver.segmentation.schema import Schema

Read = tuple[str, str]
"""Root and field that a condition reads, e.g. ("record", "country") or ("seller", "skills.enterprise")."""


@dataclass(frozen=True)
class Conjunct:
    """One operand of a condition's outermost `&&`.

    Attributes:
        column: Its truth.
        roots: The roots it reads.
        equalities: (other column, record column) of each operand of its outermost `||`, if all are plain equalities of the record and one
            other root.
    """

    column: pl.Expr
    roots: frozenset[str]
    equalities: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Condition:
    """A compiled condition. Thread-safe.

    Attributes:
        text: As written.
        reads: The fields it reads.
        uses_now: Its answer changes with the clock alone.
        column: Its truth over a frame with columns `<root>.<field>`; null counts as false.
        conjuncts: The operands of its outermost `&&`.
        crossings: Its comparisons whose answers change with the clock alone.
    """

    text: str
    reads: frozenset[Read]
    uses_now: bool
    column: pl.Expr
    conjuncts: tuple[Conjunct, ...]
    crossings: tuple[Crossing, ...] = ()

    def fields(self, root: str) -> tuple[str, ...]:
        """Return the fields of one root that it reads, sorted."""
        return tuple(sorted(field for r, field in self.reads if r == root))


def compile_condition(text: str, roots: Mapping[str, Schema]) -> Condition:
    """Check and lower a condition.

    Args:
        text: CEL, e.g. `record.revenue >= 1000000.0 && seller.country == record.country`.
        roots: Schemas of the names that may be used.

    Raises:
        ConditionError: it cannot be used; carries the place of the fault.
    """
    checked = check(text, roots)
    whole = Lowering(checked, text, roots)
    lowered = whole.lower(checked.expr)
    if lowered.kind == "reference":
        raise ConditionError("a referenced record is not true or false: ask present(…) or empty(…)")
    column = lowered.column
    conjuncts = tuple(_conjunct(node, checked, text, roots) for node in _operands(checked.expr, "_&&_"))
    return Condition(text, frozenset(whole.reads), whole.uses_now, column, conjuncts, tuple(whole.crossings))


def _operands(node: Any, operator: str) -> Iterator[Any]:
    """Yield what an operator joins, however deep it is nested in itself."""
    if node.WhichOneof("expr_kind") == "call_expr" and node.call_expr.function == operator:
        for argument in node.call_expr.args:
            yield from _operands(argument, operator)
    else:
        yield node


def _conjunct(node: Any, checked: Any, text: str, roots: Mapping[str, Schema]) -> Conjunct:
    lowering = Lowering(checked, text, roots)
    column = lowering.lower(node).column
    equalities = [_equality(operand, checked, text, roots) for operand in _operands(node, "_||_")]
    plain = tuple(equality for equality in equalities if equality is not None)
    return Conjunct(column, frozenset(root for root, _ in lowering.reads), plain if len(plain) == len(equalities) else ())


def _equality(node: Any, checked: Any, text: str, roots: Mapping[str, Schema]) -> tuple[str, str] | None:
    if node.WhichOneof("expr_kind") != "call_expr" or node.call_expr.function != "_==_":
        return None
    sides = [Lowering(checked, text, roots).lower(argument) for argument in node.call_expr.args]
    # Folded texts and days are equal under another form than the stored one: no plain join.
    if any(side.field is None or side.folded or side.kind == "instant" for side in sides):
        return None
    names = {side.field[0]: ".".join(side.field) for side in sides if side.field}
    other = [column for root, column in names.items() if root != "record"]
    return (other[0], names["record"]) if len(names) == 2 and len(other) == 1 else None
