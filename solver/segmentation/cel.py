"""CEL text to a type-checked tree, with the place of every fault.

Fields are declared as qualified names (`record.country`): only so are they type-checked. Whole numbers beside decimals are
accepted by compiling again with `.0` at the place that the checker reports.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Any

from cel_expr_python import cel
from google.protobuf import any_pb2

from reallot.solver.segmentation.checked import CheckedExpr
from reallot.solver.segmentation.errors import ConditionError
from reallot.solver.segmentation.schema import FieldType, Schema

LONGEST_TEXT = 10_000
"""Characters of one condition."""
DEEPEST = 50
"""Levels of brackets in one condition."""

_T = cel.Type
CEL_TYPES: Mapping[FieldType, Any] = {
    FieldType.TEXT: _T.STRING,
    FieldType.INTEGER: _T.INT,
    FieldType.DECIMAL: _T.DOUBLE,
    FieldType.BOOLEAN: _T.BOOL,
    FieldType.TIMESTAMP: _T.TIMESTAMP,
    # CEL knows no calendar days: a day is its first instant in UTC.
    FieldType.DATE: _T.TIMESTAMP,
    FieldType.TEXT_LIST: _T.List(_T.STRING),
}
_FAULT = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)", re.DOTALL)
_STRING = re.compile(r"""[rRbB]?("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')""")
_WHOLE_RIGHT = re.compile(r"\s*-?\d+(?![\d.eExuU])")
_WHOLE_LEFT = re.compile(r"(?<![\w.])\d+\s*$")
_WHOLE = re.compile(r"(?<![\w.])(\d+)(?![\w.])")


def _functions() -> list[Any]:
    kinds = {"text": _T.STRING, "integer": _T.INT, "decimal": _T.DOUBLE, "boolean": _T.BOOL, "instant": _T.TIMESTAMP}
    kinds["list"] = _T.List(_T.STRING)
    presence = [
        cel.FunctionDecl(name, [cel.Overload(id=f"{name}_{kind}", return_type=_T.BOOL, parameters=[t]) for kind, t in kinds.items()])
        for name in ("empty", "present")
    ]
    date = cel.FunctionDecl("date", [cel.Overload(id="date_text", return_type=_T.TIMESTAMP, parameters=[_T.STRING])])
    return [*presence, date]


def check(text: str, roots: Mapping[str, Schema]) -> Any:
    """Return the CheckedExpr of a condition over `roots`.

    Raises:
        ConditionError: the text is too long or too deep, does not parse, does not type-check, or is not a truth value.
    """
    return _checked(text, roots, (_T.BOOL,), "the condition is {}, not true or false")


def check_number(text: str, roots: Mapping[str, Schema]) -> Any:
    """Return the CheckedExpr of a number over `roots`.

    Raises:
        ConditionError: the text is too long or too deep, does not parse, does not type-check, or is not a number.
    """
    return _checked(text, roots, (_T.INT, _T.DOUBLE), "this is {}, not a number")


def _checked(text: str, roots: Mapping[str, Schema], wanted: tuple[Any, ...], otherwise: str) -> Any:
    _check_size(text)
    bare = _STRING.sub(lambda m: '"' + " " * (len(m.group()) - 2) + '"', text)
    if (macro := re.search(r"\bhas\s*\(", bare)) is not None:
        raise ConditionError("has(…) is not available: use present(…)", *place(text, macro.start()))
    variables = _variables(bare, roots)
    environment = cel.NewEnv(variables=variables, functions=_functions())
    expression = _compile(environment, text, variables)
    if expression.return_type() not in wanted:
        raise ConditionError(otherwise.format(_said(expression.return_type())))
    # The compiler wraps its answer in a google.protobuf.Any.
    return CheckedExpr.FromString(any_pb2.Any.FromString(expression.serialize()).value)


def place(text: str, offset: int) -> tuple[int, int]:
    """Return line and column, from 1, of an offset."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def _check_size(text: str) -> None:
    if not text.strip():
        raise ConditionError("the condition is empty")
    if len(text) > LONGEST_TEXT:
        raise ConditionError(f"the condition has {len(text)} characters, more than {LONGEST_TEXT}")
    depth = 0
    for offset, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth > DEEPEST:
            raise ConditionError(f"the condition is nested deeper than {DEEPEST} brackets", *place(text, offset))


def _variables(bare: str, roots: Mapping[str, Schema]) -> dict[str, Any]:
    found = {f"{root}.{f.id}": CEL_TYPES[f.type] for root, schema in roots.items() for f in schema.fields}
    for root, schema in roots.items():
        if schema.skills:
            found.update((name, _T.INT) for name in re.findall(rf"\b{root}\.skills\.[a-z][a-z0-9_]*", bare))
        if schema.reference:
            # Of a type that present(…) and empty(…) take; every other use is refused when it is lowered.
            found[root] = _T.BOOL
    found["now"] = _T.TIMESTAMP
    return found


def _compile(environment: Any, text: str, variables: Mapping[str, Any]) -> Any:
    attempt, first = text, None
    while True:
        try:
            return environment.compile(attempt)
        except RuntimeError as error:
            fault = _fault(str(error), attempt, variables)
            first = first or fault
            mended = _with_decimals(attempt, fault)
            if mended is None:
                raise first from None
            attempt = mended


def _fault(report: str, text: str, variables: Mapping[str, Any]) -> ConditionError:
    found = _FAULT.search(report)
    if found is None:
        return ConditionError(report.splitlines()[0])
    line, column = int(found[1]), int(found[2])
    message = found[3].splitlines()[0]
    if (unknown := re.match(r"undeclared reference to '([^']*)'", message)) is not None:
        # The checker names only the root when it knows none of the qualified names that begin with it.
        message = _not_declared(unknown[1], variables)
    elif "operand of a select operation" in message:
        # A referenced record is known by its name alone, so the checker takes what follows for a part of it.
        around = text.split("\n")[line - 1]
        left, right = re.search(r"\w*$", around[: column - 1]), re.match(r"\.\w*", around[column - 1 :])
        message = _not_declared(f"{left[0] if left else ''}{right[0] if right else ''}", variables)
    return ConditionError(message, line, max(column, 1))


def _not_declared(name: str, variables: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, variables, n=1)
    return f"{name} is not declared" + (f": did you mean {near[0]}?" if near else "")


def _with_decimals(text: str, fault: ConditionError) -> str | None:
    """Return the text with whole numbers written as decimals beside the operator at fault; None if that is not the fault."""
    if "no matching overload" not in fault.message or "double" not in fault.message or "int" not in fault.message:
        return None
    lines = text.split("\n")
    start = sum(len(line) + 1 for line in lines[: fault.line - 1]) + fault.column - 1
    operator = re.match(r"in\b|[<>=!]=?|[-+*/]", text[start:])
    if operator is None:
        return None
    end = start + operator.end()
    if operator.group() == "in":
        closing = text.find("]", end)
        return None if closing < 0 else text[:end] + _WHOLE.sub(r"\1.0", text[end:closing]) + text[closing:]
    if (right := _WHOLE_RIGHT.match(text, end)) is not None:
        return text[: right.end()] + ".0" + text[right.end() :]
    if (left := _WHOLE_LEFT.search(text[:start])) is not None:
        stop = left.start() + len(left.group().rstrip())
        return text[:stop] + ".0" + text[stop:]
    return None


def _said(cel_type: Any) -> str:
    return {"STRING": "a text", "INT": "a number", "DOUBLE": "a number", "TIMESTAMP": "an instant"}.get(
        cel_type.name(), f"of type {cel_type.name().lower()}"
    )
