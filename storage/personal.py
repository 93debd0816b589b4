"""What is kept about one person: where it stands, giving it out, and taking names and personal values out of it, within one transaction.

A person is a seller or a record. Ids stay wherever they stand, and so do owners, segments, enrollments and numbers: the log can be
replayed afterwards as before. Rows are named by the values of their primary key.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Table, and_, false, or_, select, update

from reallot.storage.among import among
from reallot.storage.documents import dump, load
from reallot.storage.entities import Json
from reallot.storage.rows import to_json
from reallot.storage.tables import (
    audit,
    capacity_timers,
    config,
    config_changes,
    decisions,
    enrollments,
    events,
    fanouts,
    gains,
    graves,
    held_notices,
    loads,
    metadata,
    notices,
    offers,
    pending,
    previews,
    rechecks,
    record_references,
    records,
    rule_turns,
    runs,
    sellers,
    shares,
    step_looks,
    steps,
    time_off,
    turns,
    unanswered,
    working_stretches,
)

Row = Mapping[str, Any]
Key = tuple[Any, ...]
_DEEPEST = 4
"""Sentences within sentences that are written: the name of an owner in a clause in a reason in the summary of another."""
SHORTEST_NAME = 3
"""Shorter names are not looked for in texts that do not say whom they name: they would be found in every other word."""
_OWN_OF_SELLER = (
    sellers,
    time_off,
    loads,
    turns,
    rule_turns,
    shares,
    gains,
    capacity_timers,
    unanswered,
    offers,
    notices,
    held_notices,
    working_stretches,
    steps,
)
_OWN_OF_RECORD = (records, graves, pending, rechecks, enrollments, steps, step_looks, offers, decisions, events, previews)
_SHOWN_OF_OWNED = ("record_id", "record_type", "owner_kind", "owner_id", "previous_owner_kind", "previous_owner_id", "offered_to", "reason")
"""Columns of records that tell something about a seller: what else stands in them is about others."""
_OWNER_PARAMETERS = (("before", "old_owner"), ("after", "new_owner"))
_NOT_CONFIGURED = frozenset({"seller", "time_off", "record", "run"})
"""Kinds in the audit log whose documents hold ids, which stay."""


@dataclass(frozen=True)
class Person:
    """Whose data it is about.

    Attributes:
        kind: A seller or a record.
        id: Its id.
        kept: Fields, or attributes, that are declared and not personal: all others go.
        names: What it is or was called, apart from its id.
        shared: Those of the names that others have as well: only what says whom it names can be told to be about this one.
    """

    kind: Literal["seller", "record"]
    id: str
    kept: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()

    @property
    def sought(self) -> list[str]:
        """The names that are looked for in texts, the longest first."""
        fit = {
            name for name in self.names - self.shared if len(name) >= SHORTEST_NAME and any(c.isalpha() for c in name) and name != self.id
        }
        return sorted(fit, key=lambda name: (-len(name), name))

    def without_names(self, text: str, names: Iterable[str] | None = None) -> str:
        """Return a text with the id in the place of the person's names, or those given."""
        for name in self.sought if names is None else names:
            for form in reversed(dict.fromkeys(forms_of(name))):
                if form in text:
                    text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", lambda _: self.id, text)
        return text


def tables_about(kind: Literal["seller", "record"]) -> frozenset[str]:
    """Return the tables that are looked through for a person of a kind."""
    return frozenset(table.name for table, _ in _conditions(Person(kind, "anybody")))


class PersonalRepository:
    """Personal data of all workspaces. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def names_of_seller(self, workspace: str, seller_id: str) -> frozenset[str]:
        """Return what a seller is called, and was called as far as the audit log knows."""
        c = sellers.c
        found = set(self._connection.execute(select(c.display_name).where(c.workspace == workspace, c.seller_id == seller_id)).scalars())
        a = audit.c
        lines = self._connection.execute(select(a.before, a.after).where(a.workspace == workspace, a.kind == "seller", a.id == seller_id))
        found.update((load(text) or {}).get("display_name", "") for line in lines for text in line if text)
        return frozenset(found - {"", seller_id})

    def shared_names(self, workspace: str, seller_id: str, names: Iterable[str]) -> frozenset[str]:
        """Return those of the names that another seller has."""
        c = sellers.c
        others = select(c.display_name).where(c.workspace == workspace, c.seller_id != seller_id, among(c.display_name, names))
        return frozenset(self._connection.execute(others).scalars())

    def titles_of_record(self, workspace: str, record_id: str) -> frozenset[str]:
        """Return what a record is called in the events that are kept."""
        c = events.c
        told = self._connection.execute(select(c.sentence).where(c.workspace == workspace, c.record_id == record_id)).scalars()
        found = {((load(text) or {}).get("parameters") or {}).get("record", "") for text in told}
        return frozenset(found - {"", record_id})

    def types_of_record(self, workspace: str, record_id: str) -> list[str]:
        """Return the types that a record has in the events that are kept."""
        c = events.c
        told = select(c.record_type).where(c.workspace == workspace, c.record_id == record_id).distinct()
        return sorted(self._connection.execute(told).scalars())

    def concerned(self, workspace: str, person: Person) -> dict[str, list[Key]]:
        """Return the rows that are about a person, or name it, by table; tables without any are left out."""
        found = {}
        for table, condition in _conditions(person):
            keys = list(table.primary_key)
            statement = select(*keys).where(table.c.workspace == workspace, condition).order_by(*keys)
            if rows := [tuple(row) for row in self._connection.execute(statement)]:
                found[table.name] = rows
        return found

    def rows(self, name: str, keys: Sequence[Key], person: Person) -> list[dict[str, Json]]:
        """Return rows as JSON (see `rows.to_json`); what is about others is left out."""
        table = metadata.tables[name]
        shown = _SHOWN_OF_OWNED if table is records and person.kind == "seller" else tuple(c.name for c in table.c)
        return [to_json(table, {name: row[name] for name in shown}) for row in self._read(table, keys)]

    def redact(self, name: str, keys: Sequence[Key], person: Person, time_us: int, *, store: bool = True) -> int:
        """Take names and personal values out of rows; return how many held some. Without `store` they are only counted."""
        table, changed = metadata.tables[name], 0
        for row in self._read(table, keys):
            values = _redacted(table, row, person)
            if not values:
                continue
            changed += 1
            if store:
                stamp = {"redacted_us": time_us} if table is audit else {}
                same = and_(*(column == row[column.name] for column in table.primary_key))
                self._connection.execute(update(table).where(same).values({**values, **stamp}))
        return changed

    def blank_seller(self, workspace: str, person: Person, time_us: int) -> bool:
        """Take name and personal attributes out of a seller who exists, as a change of its own; return whether there were any.

        The audit log gets nothing of it: what was removed is not to stand there.
        """
        key = (workspace, person.id)
        if not self.redact(sellers.name, [key], person, time_us):
            return False
        same = and_(sellers.c.workspace == workspace, sellers.c.seller_id == person.id)
        self._connection.execute(update(sellers).where(same).values(version=sellers.c.version + 1, update_us=time_us))
        return True

    def mentions(self, workspace: str, person: Person) -> list[tuple[str, str]]:
        """Return kind and id of the present resources of the configuration that name a person."""
        c = config.c
        named = or_(*(c.body.contains(text, autoescape=True) for text in [dump(person.id), *_inner(person.sought)]))
        rows = self._connection.execute(select(c.kind, c.id, c.body).where(c.workspace == workspace, named).order_by(c.kind, c.id))
        return [(row.kind, row.id) for row in rows if _names_it(load(row.body), person)]

    def _read(self, table: Table, keys: Sequence[Key]) -> list[dict[str, Any]]:
        columns, found = list(table.primary_key), []
        for key in keys:
            same = and_(*(column == value for column, value in zip(columns, key, strict=True)))
            found += [dict(row._mapping) for row in self._connection.execute(select(table).where(same))]
        return found


def _inner(names: Iterable[str]) -> list[str]:
    """Return names as they stand inside of JSON, where texts may be JSON again: a sentence within a sentence."""
    return list(dict.fromkeys(form for name in names for form in forms_of(name)[1:]))


def forms_of(name: str) -> list[str]:
    """Return a name as it is, and as it stands inside of JSON inside of JSON, down to the deepest sentence that is kept."""
    forms = [name]
    for _ in range(_DEEPEST):
        forms.append(dump(forms[-1])[1:-1])
    return forms


def _holds(columns: Iterable[ColumnElement[str]], texts: Iterable[str]) -> ColumnElement[bool]:
    found = [column.contains(text, autoescape=True) for column in columns for text in texts]
    return or_(*found) if found else false()


def _conditions(person: Person) -> Iterable[tuple[Table, ColumnElement[bool]]]:
    """Yield which rows of which table are about a person."""
    return _of_seller(person) if person.kind == "seller" else _of_record(person)


def _of_seller(person: Person) -> Iterable[tuple[Table, ColumnElement[bool]]]:
    # Owners, holders of offers and those who are to do a step all stand in documents under a name that ends so.
    owner, named = [f'seller_id":{dump(person.id)}'], _inner(person.sought)
    for table in _OWN_OF_SELLER:
        yield table, table.c.seller_id == person.id
    c = records.c
    owned = [and_(kind == "SELLER", name == person.id) for kind, name in _owner_columns()]
    yield records, or_(*owned, c.offered_to == person.id, c.created_by == person.id, _holds([c.reason], [*person.sought, *named]))
    e, d, p = events.c, decisions.c, previews.c
    yield events, or_(_holds((e.before, e.after, e.cause), owner), _holds((e.sentence, e.cause), named))
    yield (
        decisions,
        or_(_holds((d.before, d.after, d.cause), owner), _holds([d.reason], [*person.sought, *named]), _holds([d.cause], named)),
    )
    yield previews, _holds((p.before, p.after), owner)
    a = audit.c
    about = or_(and_(a.kind == "seller", a.id == person.id), and_(a.kind == "time_off", a.id.startswith(f"{person.id}/", autoescape=True)))
    told = [_holds((a.before, a.after), [*owner, *named])]
    yield audit, or_(about, *told, _holds((a.remark, a.on_behalf_of), person.sought))
    yield runs, _holds([runs.c.cause], named)
    yield pending, _holds([pending.c.cause], named)
    yield config_changes, _holds((config_changes.c.before, config_changes.c.after), named)


def _owner_columns() -> list[tuple[ColumnElement[str], ColumnElement[str]]]:
    c = records.c
    return [(c.owner_kind, c.owner_id), (c.previous_owner_kind, c.previous_owner_id)]


def _of_record(person: Person) -> Iterable[tuple[Table, ColumnElement[bool]]]:
    for table in _OWN_OF_RECORD:
        yield table, table.c.record_id == person.id
    yield fanouts, fanouts.c.target_id == person.id
    yield record_references, or_(record_references.c.record_id == person.id, record_references.c.target_id == person.id)
    # A digest lists ids.
    yield notices, _holds([notices.c.body], [dump(person.id)])
    yield held_notices, _holds([held_notices.c.body], [dump(person.id)])
    yield audit, and_(audit.c.kind == "record", audit.c.id == person.id)


def _redacted(table: Table, row: Row, person: Person) -> dict[str, Any]:
    """Return the columns of a row that change when names and personal values are taken out, as they will be."""
    fresh = dict(row)
    for rewrite in _REWRITES[person.kind].get(table, ()):
        fresh.update(rewrite(fresh, person))
    return {name: value for name, value in fresh.items() if value != row[name]}


def _rewritten(text: str, change: Callable[[Json], Json]) -> str:
    """Return a document as text after a change; the same text if nothing has changed."""
    document = load(text)
    made = change(document)
    return text if made == document else dump(made)


def _each_text(document: Json, change: Callable[[str], str]) -> Json:
    """Return a document with every text in it changed; names of members stay."""
    if isinstance(document, str):
        return change(document)
    if isinstance(document, list):
        return [_each_text(item, change) for item in document]
    if isinstance(document, dict):
        return {name: _each_text(item, change) for name, item in document.items()}
    return document


def _names_it(document: Json, person: Person) -> bool:
    found: list[str] = []
    _each_text(document, lambda text: found.append(text) or text)  # type: ignore[func-returns-value]
    quoted = dump(person.id)
    return any(text == person.id or quoted in text or person.without_names(text) != text for text in found)


def _only(values: Mapping[str, Any], kept: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in kept}


def _seller_row(row: Row, person: Person) -> dict[str, Any]:
    attributes = _rewritten(row["attributes"], lambda found: _only(found, person.kept))
    return {"display_name": "", "attributes": attributes}


def _seller_audit(row: Row, person: Person) -> dict[str, Any]:
    """Blank what the audit log says of a seller, or of an absence."""

    def blank(document: Json) -> Json:
        if not isinstance(document, dict) or document.keys() == {"redacted"}:
            return document
        blanks: dict[str, Json] = {"note": ""} if row["kind"] == "time_off" else {"display_name": ""}
        if document.get("attributes"):
            blanks["attributes"] = _only(document["attributes"], person.kept)
        return document | {name: value for name, value in blanks.items() if name in document}

    if (row["kind"], row["id"]) == ("seller", person.id) or (row["kind"] == "time_off" and row["id"].startswith(f"{person.id}/")):
        return {name: _rewritten(row[name], blank) if row[name] else "" for name in ("before", "after")}
    return {}


def _called_in(row: Row, person: Person) -> set[str]:
    """Return what a seller is called in the sentence of an event, by the place that it has there."""
    sentence, found = load(row["sentence"]) or {}, set[str]()
    parameters = sentence.get("parameters") or {}
    for column, parameter in _OWNER_PARAMETERS:
        if ((load(row[column]) or {}).get("owner") or {}).get("seller_id") == person.id:
            found.add(parameters.get(parameter, ""))
    offered = [(load(row[column]) or {}).get("offered_seller_id") for column in ("after", "before")]
    if next((seller for seller in offered if seller), None) == person.id:
        found.add(parameters.get("offered", ""))
    return found - {"", person.id}


def _seller_event(row: Row, person: Person) -> dict[str, Any]:
    called = _called_in(row, person)
    return {"sentence": _rewritten(row["sentence"], lambda d: _each_text(d, lambda t: person.without_names(t, called)))}


def _record_row(row: Row, person: Person) -> dict[str, Any]:
    return {"fields": _rewritten(row["fields"], lambda found: _only(found, person.kept))}


def _record_states(row: Row, person: Person) -> dict[str, Any]:
    """Take the values of fields out of what a log says of a record before and after."""
    if "kind" in row and "id" in row and (row["kind"], row["id"]) != ("record", person.id):
        return {}

    def state(document: Json) -> Json:
        if not isinstance(document, dict) or "fields" not in document:
            return document
        left = _only(document["fields"], person.kept)
        return {name: value for name, value in document.items() if name != "fields"} | ({"fields": left} if left else {})

    return {name: _rewritten(row[name], state) if row[name] else "" for name in ("before", "after")}


def _record_event(row: Row, person: Person) -> dict[str, Any]:
    title = ((load(row["sentence"]) or {}).get("parameters") or {}).get("record", "")
    if title in ("", person.id):
        return {}
    return {"sentence": _rewritten(row["sentence"], lambda d: _each_text(d, lambda t: person.without_names(t, [title])))}


def _texts(*names: str) -> "_Rewrite":
    """Take names out of columns that are texts."""
    return lambda row, person: {name: person.without_names(row[name]) for name in names}


def _documents(*names: str) -> "_Rewrite":
    """Take names out of every text of columns that are documents."""

    def rewrite(row: Row, person: Person) -> dict[str, Any]:
        if row.get("kind") in _NOT_CONFIGURED:
            return {}
        return {n: _rewritten(row[n], lambda document: _each_text(document, person.without_names)) for n in names if row[n]}

    return rewrite


def _cause(row: Row, person: Person) -> dict[str, Any]:
    """Take names out of what people are told about a cause: all else in it are ids."""

    def told(document: Json) -> Json:
        return document | {"detail": person.without_names(document["detail"])} if (document or {}).get("detail") else document

    return {"cause": _rewritten(row["cause"], told)}


_Rewrite = Callable[[Row, Person], dict[str, Any]]
_REWRITES: Mapping[str, Mapping[Table, tuple[_Rewrite, ...]]] = {
    "seller": {
        sellers: (_seller_row,),
        time_off: (lambda row, person: {"note": ""},),
        records: (_texts("reason"),),
        events: (_seller_event, _documents("sentence"), _cause),
        decisions: (_texts("reason"), _cause),
        pending: (_cause,),
        runs: (_cause,),
        audit: (_seller_audit, _documents("before", "after"), _texts("remark", "on_behalf_of")),
        config_changes: (_documents("before", "after"),),
    },
    "record": {
        records: (_record_row,),
        events: (_record_states, _record_event),
        decisions: (_record_states,),
        previews: (_record_states,),
        audit: (_record_states,),
    },
}
