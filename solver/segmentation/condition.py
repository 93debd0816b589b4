"""A condition, ready to be evaluated over columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from reallot.solver.segmentation.cel import check
from reallot.solver.segmentation.errors import ConditionError
from reallot.solver.segmentation.lowering import Crossing, Lowered, Lowering
from reallot.solver.segmentation.schema import Schema

Read = tuple[str, str]
"""Root and field that a condition reads, e.g. ("record", "country") or ("seller", "skills.enterprise")."""


class Naming(NamedTuple):
    """What holds only of records that have one of some texts in a field: these, or, where `column` is named, what stands in that column."""

    field: str
    texts: tuple[str, ...] = ()
    column: str = ""


@dataclass(frozen=True)
class Conjunct:
    """One operand of a condition's outermost `&&`.

    Attributes:
        column: Its truth.
        roots: The roots it reads.
        equalities: (other column, record column) of each operand of its outermost `||`, if all are plain equalities of the record and one
            other root.
        namings: What each operand of its outermost `||` asks of one text of the record, if all do.
    """

    column: pl.Expr
    roots: frozenset[str]
    equalities: tuple[tuple[str, str], ...]
    namings: tuple[Naming, ...] = ()


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
    operands = list(_operands(node, "_||_"))
    equalities = [e for operand in operands if (e := _equality(operand, checked, text, roots)) is not None]
    namings = [n for operand in operands if (n := _naming(operand, checked, text, roots)) is not None]
    return Conjunct(
        column,
        frozenset(root for root, _ in lowering.reads),
        tuple(equalities) if len(equalities) == len(operands) else (),
        tuple(namings) if len(namings) == len(operands) else (),
    )


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


def _naming(node: Any, checked: Any, text: str, roots: Mapping[str, Schema]) -> Naming | None:
    """Return what an operand asks of one text of the record; None if it does not, or not in these words."""
    call = node.call_expr if node.WhichOneof("expr_kind") == "call_expr" else None
    if call is None or call.function not in ("_==_", "@in") or len(call.args) != 2:
        return None
    sides = [Lowering(checked, text, roots).lower(argument) for argument in call.args]
    if any(side.folded for side in sides):
        return None
    for own, other in (sides, sides[::-1]) if call.function == "_==_" else (sides,):
        if own.kind == "text" and own.field is not None and own.field[0] == "record":
            return _named_by(own.field[1], other)
    return None


def _named_by(field: str, other: Lowered) -> Naming | None:
    if other.literal is not None:
        return Naming(field, tuple(other.literal) if isinstance(other.literal, list) else (other.literal,))
    # A reference is there or is not: what it says does not stand beside the other side's columns.
    return Naming(field, column=".".join(other.field)) if other.field is not None and other.field[0] == "seller" else None
