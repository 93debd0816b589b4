"""A checked CEL tree to a polars expression over columns named `<root>.<field>`.

A missing value is null. Comparisons with null are null; `&&` and `||` are three-valued, as CEL's are with errors; what is null in
the end matches nothing. What has no column form is refused here, at the place where it stands.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NoReturn

import polars as pl

from reallot.solver.segmentation.cel import place
from reallot.solver.segmentation.errors import ConditionError
from reallot.solver.segmentation.schema import EXISTS, FieldType, Schema

NOW = "now"
"""Column that holds the present instant in microseconds, where a condition asks for it."""
MICROSECONDS_A_DAY = 86_400_000_000
_INT64 = (-(2**63), 2**63 - 1)
_COMPARISONS: Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "_==_": lambda a, b: a == b,
    "_!=_": lambda a, b: a != b,
    "_<_": lambda a, b: a < b,
    "_<=_": lambda a, b: a <= b,
    "_>_": lambda a, b: a > b,
    "_>=_": lambda a, b: a >= b,
}
_ARITHMETIC: Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "_+_": lambda a, b: a + b,
    "_-_": lambda a, b: a - b,
    "_*_": lambda a, b: a * b,
}
_TEXT_TESTS = ("contains", "startsWith", "endsWith")


@dataclass(frozen=True, slots=True)
class Lowered:
    """A part of a condition in column form.

    Attributes:
        column: Its value.
        kind: Its type.
        literal: Its value, if it is one for all records.
        folded: Texts are compared in lower case.
        field: Root and field, if it is one.
        nows: How often the present instant is added to it: an instant or a length grows by this much for every unit of time.
    """

    column: pl.Expr
    kind: str
    literal: Any = None
    folded: bool = False
    field: tuple[str, str] | None = None
    nows: int = 0


@dataclass(frozen=True, slots=True)
class Crossing:
    """A comparison whose answer changes with the clock: where `distance` + `nows` * now passes through zero.

    Attributes:
        distance: The difference of its sides, over a frame whose present instant is 0.
        nows: How much the difference grows for every unit of time; not 0.
    """

    distance: pl.Expr
    nows: int


class Lowering:
    """Lowers one checked condition. Not thread-safe; used once.

    Attributes:
        reads: The (root, field) pairs that have been read so far.
        uses_now: The condition asks for the present instant.
        crossings: The comparisons whose answers change with the clock.
    """

    def __init__(self, checked: Any, text: str, roots: Mapping[str, Schema]) -> None:
        self._checked = checked
        self._text = text
        self._roots = roots
        self.reads: set[tuple[str, str]] = set()
        self.uses_now = False
        self.crossings: list[Crossing] = []

    def lower(self, node: Any) -> Lowered:
        """Return the column form of a node.

        Raises:
            ConditionError: it has none.
        """
        kind = node.WhichOneof("expr_kind")
        if kind == "const_expr":
            return self._constant(node)
        if kind in ("ident_expr", "select_expr"):
            return self._name(node)
        if kind == "call_expr":
            return self._call(node)
        if kind == "list_expr":
            return self._list(node)
        self._refuse(node, "macros and message literals are not available in conditions")

    def _refuse(self, node: Any, message: str) -> NoReturn:
        offset = self._checked.source_info.positions.get(node.id, 0)
        raise ConditionError(message, *place(self._text, offset))

    def _constant(self, node: Any) -> Lowered:
        kind = node.const_expr.WhichOneof("constant_kind")
        value = getattr(node.const_expr, kind)
        names = {"string_value": "text", "int64_value": "integer", "double_value": "decimal", "bool_value": "boolean"}
        if kind not in names:
            self._refuse(node, "null is not available: use empty(…) or present(…)" if kind == "null_value" else f"{kind} is not available")
        return Lowered(pl.lit(value), names[kind], literal=value)

    def _name(self, node: Any) -> Lowered:
        name = self._checked.reference_map[node.id].name if node.id in self._checked.reference_map else ""
        if name == NOW:
            self.uses_now = True
            return Lowered(pl.col(NOW), "instant", nows=1)
        root, _, field_id = name.partition(".")
        if root in self._roots and self._roots[root].reference and not field_id:
            self.reads.add((root, EXISTS))
            return Lowered(pl.col(f"{root}.{EXISTS}"), "reference")
        if not field_id:
            self._refuse(node, "only fields can be named here")
        self.reads.add((root, field_id))
        declared = self._roots[root].by_id.get(field_id)
        # What is not declared is a skill: the check let nothing else through.
        field_type = declared.type if declared else FieldType.INTEGER
        column, kind = _column(name, field_type)
        folds = declared is not None and declared.fold_case and kind in ("text", "list")
        return Lowered(column, kind, folded=folds, field=(root, field_id))

    def _list(self, node: Any) -> Lowered:
        items = [self.lower(element) for element in node.list_expr.elements]
        if any(item.literal is None for item in items):
            self._refuse(node, "a list may hold only literals")
        return Lowered(pl.lit(None), "list", literal=[item.literal for item in items])

    def _call(self, node: Any) -> Lowered:
        call = node.call_expr
        if call.function in ("timestamp", "duration", "date"):
            return self._moment(node)
        arguments = [self.lower(a) for a in ([call.target] if call.HasField("target") else []) + list(call.args)]
        self._check_references(node, arguments)
        match call.function, arguments:
            case "_&&_", [a, b]:
                return Lowered(a.column & b.column, "boolean")
            case "_||_", [a, b]:
                return Lowered(a.column | b.column, "boolean")
            case "!_", [a]:
                return Lowered(~a.column, "boolean")
            case "_?_:_", [condition, yes, no]:
                return self._choice(node, condition, yes, no)
            case name, [a, b] if name in _COMPARISONS:
                return self._comparison(node, name, a, b)
            case "@in", [a, b]:
                return self._membership(node, a, b)
            case name, [a, b] if name in (*_ARITHMETIC, "_/_"):
                return self._arithmetic(node, name, a, b)
            case "-_", [a] if a.literal is not None:
                return Lowered(pl.lit(-a.literal), a.kind, literal=-a.literal)
            case "-_", [a]:
                return Lowered(-a.column, a.kind)
            case name, [a, b] if name in _TEXT_TESTS:
                return self._text_test(node, name, a, b)
            case "empty" | "present", [a]:
                missing = _is_missing(a)
                return Lowered(missing if call.function == "empty" else ~missing, "boolean")
            case "size", [a]:
                length = a.column.list.len() if a.kind == "list" else a.column.str.len_chars()
                return Lowered(length.cast(pl.Int64), "integer")
        self._refuse(node, f"{call.function.strip('_@')} is not available in conditions")

    def _check_references(self, node: Any, arguments: list[Lowered]) -> None:
        if node.call_expr.function not in ("empty", "present") and any(a.kind == "reference" for a in arguments):
            self._refuse(node, "of a referenced record itself only present(…) and empty(…) can be asked")

    def _choice(self, node: Any, condition: Lowered, yes: Lowered, no: Lowered) -> Lowered:
        if yes.nows or no.nows:
            self._refuse(node, "the present instant cannot be chosen by ?: (compare with it on both sides instead)")
        chosen = pl.when(condition.column).then(yes.column).when(~condition.column).then(no.column).otherwise(None)
        return Lowered(chosen, yes.kind, folded=yes.folded or no.folded)

    def _comparison(self, node: Any, name: str, a: Lowered, b: Lowered) -> Lowered:
        if "list" in (a.kind, b.kind):
            self._refuse(node, 'lists are compared with `"…" in list`')
        a, b = _fold(a, b)
        if a.kind == b.kind == "boolean" and name not in ("_==_", "_!=_"):
            self._refuse(node, "truth values have no order")
        if a.nows != b.nows:
            self.crossings.append(Crossing(a.column - b.column, a.nows - b.nows))
        return Lowered(_COMPARISONS[name](a.column, b.column), "boolean")

    def _membership(self, node: Any, a: Lowered, b: Lowered) -> Lowered:
        if b.literal is not None:
            values = self._comparable(node, a, b.literal)
            if a.literal is not None:
                return Lowered(pl.lit(a.literal in values), "boolean")
            column = a.column.str.to_lowercase() if a.folded else a.column
            # In an empty list is nothing, but whether a missing value would be is not known.
            nowhere = pl.when(column.is_not_null()).then(pl.lit(value=False)).otherwise(None)
            return Lowered(column.is_in(values) if values else nowhere, "boolean")
        if b.field is None:
            self._refuse(node, "`in` needs a list of literals or a list field")
        folded = b.folded or a.folded
        held = b.column.list.eval(pl.element().str.to_lowercase()) if folded else b.column
        wanted = a.column.str.to_lowercase() if folded else a.column
        found = held.list.contains(wanted)
        return Lowered(pl.when(b.column.is_not_null() & a.column.is_not_null()).then(found).otherwise(None), "boolean")

    def _comparable(self, node: Any, a: Lowered, literals: list[Any]) -> list[Any]:
        """Return the literals in the type of `a`; a list may mix whole numbers and decimals, but nothing else."""
        if a.kind in ("integer", "decimal") and all(type(v) in (int, float) for v in literals):
            # A fraction equals no whole number.
            return [float(v) for v in literals] if a.kind == "decimal" else [int(v) for v in literals if v == int(v)]
        if a.kind == "text" and all(isinstance(v, str) for v in literals):
            return [v.lower() for v in literals] if a.folded else literals
        if a.kind == "boolean" and all(isinstance(v, bool) for v in literals):
            return literals
        self._refuse(node, f"the list holds values that are not {a.kind}")

    def _arithmetic(self, node: Any, name: str, a: Lowered, b: Lowered) -> Lowered:
        kinds = (a.kind, b.kind)
        if kinds == ("decimal", "decimal"):
            result = a.column / b.column if name == "_/_" else _ARITHMETIC[name](a.column, b.column)
            return Lowered(result, "decimal")
        if kinds == ("integer", "integer") and name in _ARITHMETIC:
            wide = _ARITHMETIC[name](a.column.cast(pl.Int128), b.column.cast(pl.Int128))
            inside = (wide >= pl.lit(_INT64[0], pl.Int128)) & (wide <= pl.lit(_INT64[1], pl.Int128))
            return Lowered(pl.when(inside).then(wide).otherwise(None).cast(pl.Int64), "integer")
        if name in ("_+_", "_-_") and kinds in (("instant", "length"), ("length", "length"), ("length", "instant")):
            nows = a.nows + b.nows if name == "_+_" else a.nows - b.nows
            return Lowered(_ARITHMETIC[name](a.column, b.column), "instant" if "instant" in kinds else "length", nows=nows)
        if name == "_-_" and kinds == ("instant", "instant"):
            return Lowered(a.column - b.column, "length", nows=a.nows - b.nows)
        self._refuse(node, f"{name.strip('_')} is not available between {a.kind} and {b.kind}")

    def _text_test(self, node: Any, name: str, a: Lowered, b: Lowered) -> Lowered:
        if a.kind != "text" or b.kind != "text":
            self._refuse(node, f"{name} needs texts")
        a, b = _fold(a, b)
        if name == "contains":
            return Lowered(a.column.str.contains(b.column, literal=True), "boolean")
        tested = a.column.str.starts_with(b.column) if name == "startsWith" else a.column.str.ends_with(b.column)
        return Lowered(tested, "boolean")

    def _moment(self, node: Any) -> Lowered:
        call = node.call_expr
        text = call.args[0].const_expr.string_value if call.args and call.args[0].WhichOneof("expr_kind") == "const_expr" else ""
        if not text:
            self._refuse(node, f"{call.function}(…) needs a literal text")
        try:
            if call.function == "duration":
                return Lowered(pl.lit(_duration_us(text)), "length")
            if call.function == "date":
                return Lowered(pl.lit((date.fromisoformat(text) - date(1970, 1, 1)).days * MICROSECONDS_A_DAY), "instant")
            moment = datetime.fromisoformat(text)
        except ValueError:
            self._refuse(node, f"{text!r} is no {call.function}")
        if moment.tzinfo is None:
            self._refuse(node, f"{text!r} has no time zone: write e.g. 2026-03-01T00:00:00Z")
        return Lowered(pl.lit((moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)), "instant")


def _column(name: str, field_type: FieldType) -> tuple[pl.Expr, str]:
    if field_type is FieldType.DATE:
        return pl.col(name) * MICROSECONDS_A_DAY, "instant"
    kinds = {
        FieldType.TEXT: "text",
        FieldType.INTEGER: "integer",
        FieldType.DECIMAL: "decimal",
        FieldType.BOOLEAN: "boolean",
        FieldType.TIMESTAMP: "instant",
        FieldType.TEXT_LIST: "list",
    }
    return pl.col(name), kinds[field_type]


def _fold(a: Lowered, b: Lowered) -> tuple[Lowered, Lowered]:
    if not (a.folded or b.folded):
        return a, b
    return tuple(  # type: ignore[return-value]
        Lowered(pl.lit(x.literal.lower()) if x.literal is not None else x.column.str.to_lowercase(), x.kind) for x in (a, b)
    )


def _is_missing(a: Lowered) -> pl.Expr:
    if a.kind == "text":
        return a.column.is_null() | (a.column == "").fill_null(value=True)
    if a.kind == "list":
        return a.column.is_null() | (a.column.list.len() == 0).fill_null(value=True)
    return a.column.is_null()


def _duration_us(text: str) -> int:
    units = {"d": MICROSECONDS_A_DAY, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000, "us": 1}
    sign, rest, total = (-1, text[1:], 0) if text.startswith("-") else (1, text, 0)
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        unit = next((u for u in ("ms", "us", "d", "h", "m", "s") if rest[digits:].startswith(u)), "")
        if not digits or not unit:
            raise ValueError(text)
        total += int(rest[:digits]) * units[unit]
        rest = rest[digits + len(unit) :]
    return sign * total
