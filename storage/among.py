"""The condition that a column has one of many values, all of which travel as one parameter.

A list of parameters has an engine's limit, and its text is written and parsed anew for every length.
"""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Dialect, Table, Text, TypeDecorator, and_, bindparam, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine


class _Values(TypeDecorator[Any]):
    """Texts or whole numbers: an array where the engine has arrays, else a JSON text."""

    impl = Text
    cache_ok = True

    def __init__(self, *, numbers: bool = False) -> None:
        super().__init__()
        self.numbers = numbers

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Text())
        return dialect.type_descriptor(ARRAY(BigInteger() if self.numbers else Text()))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return json.dumps(value) if dialect.name == "sqlite" else value


class _Listed(FunctionElement[Any]):
    """The values as rows. Not the whole condition: SQLAlchemy compares one that it does not know with 1, and no index serves that."""

    inherit_cache = True


def among(column: ColumnElement[Any], values: Iterable[Any]) -> ColumnElement[bool]:
    """Return the condition that `column`, of texts or of whole numbers, has one of `values`; without values it never holds."""
    numbers = isinstance(column.type, BigInteger)
    return column.bool_op("IN")(_Listed(bindparam(None, list(dict.fromkeys(values)), _Values(numbers=numbers), unique=True)))


class _Member(FunctionElement[Any]):
    """The text of a member of a JSON document."""

    inherit_cache = True
    type = Text()


_NUL = r"\u0000"
"""How a document says the one character that texts of PostgreSQL cannot have."""


def names_text(column: ColumnElement[str], member: str, texts: Iterable[str]) -> ColumnElement[bool]:
    """Return the condition that a document has one of some texts as a member; one with a NUL anywhere in it passes in any case."""
    sayable = [text for text in texts if "\0" not in text]
    return or_(column.contains(_NUL, autoescape=True), among(_Member(column, bindparam(None, member, Text(), unique=True)), sayable))


def among_given(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Return the condition that `column`, of texts, has one of the values that are given as parameter `name` at execution, a list."""
    return column.bool_op("IN")(_Listed(bindparam(name, type_=_Values())))


def named(table: Table, column: str) -> ColumnElement[bool]:
    """Return the condition that rows are of a workspace and have one of some texts in `column`, both given at execution (see `these`).

    A statement of it is built once: building one costs as much as carrying it out.
    """
    return and_(table.c.workspace == bindparam("in_workspace"), among_given(table.c[column], "names"))


def these(workspace: str, names: Iterable[str]) -> dict[str, Any]:
    """Return the parameters of a statement with `named`."""
    return {"in_workspace": workspace, "names": list(dict.fromkeys(names))}


@compiles(_Listed)
def _from_array(element: _Listed, compiler: SQLCompiler, **kw: Any) -> str:
    return f"(SELECT unnest({compiler.process(element.clauses, **kw)}))"


@compiles(_Listed, "sqlite")
def _from_json(element: _Listed, compiler: SQLCompiler, **kw: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **kw)}))"  # nosec B608 # names of our own


@compiles(_Member)
def _from_text(element: _Member, compiler: SQLCompiler, **kw: Any) -> str:
    document, name = (compiler.process(part, **kw) for part in element.clauses)
    return f"(CASE WHEN strpos({document}, '{_NUL}') > 0 THEN NULL ELSE CAST({document} AS json) ->> CAST({name} AS text) END)"  # nosec B608


@compiles(_Member, "sqlite")
def _from_member(element: _Member, compiler: SQLCompiler, **kw: Any) -> str:
    document, name = (compiler.process(part, **kw) for part in element.clauses)
    return f"json_extract({document}, '$.' || {name})"  # nosec B608 # names of our own
