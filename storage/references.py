"""Which records refer to which, and what is still to be passed on to those that refer to a changed one, within one transaction."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from reallot.storage.among import named, these
from reallot.storage.dialect import delete_rows, fetched, upsert_rows
from reallot.storage.documents import dump, load
from reallot.storage.entities import Json
from reallot.storage.pending import merge_causes
from reallot.storage.tables import fanouts, record_references, records

_REFERENCE = ("workspace", "target_id", "record_id")
_FANOUT = ("workspace", "target_id", "record_type", "since_us", "cause", "next_cause", "after_id")
_REFERRED = select(record_references.c.target_id).where(named(record_references, "target_id")).distinct()
_ASKED = select(*(fanouts.c[name] for name in _FANOUT)).where(named(fanouts, "target_id"))


class Related(NamedTuple):
    """What one record refers to, before and after a change: ids by role."""

    record_id: str
    before: Mapping[str, str]
    after: Mapping[str, str]


class Fanout(NamedTuple):
    """A change of a record that those that refer to it are yet to hear of.

    Attributes:
        target_id: The record that changed.
        record_type: Its type.
        since_us: When it changed first.
        cause: What changed, as a document with `fields` and perhaps `quiet`.
        next_cause: What changed since the round began: it takes a round of its own. None = nothing.
        after_id: How far the round is: the last record that has heard of it. "" = it has not begun.
    """

    target_id: str
    record_type: str
    since_us: int
    cause: Json
    next_cause: Json = None
    after_id: str = ""


class Referrer(NamedTuple):
    """An active record that refers to another, in these roles."""

    record_id: str
    record_type: str
    segment_id: str
    owned: bool
    roles: tuple[str, ...]


class ReferenceRepository:
    """References by what they refer to, of all workspaces. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def keep(self, workspace: str, changes: Iterable[Related]) -> None:
        """Keep what different records refer to now."""
        gone: list[tuple[str, str, str]] = []
        fresh: list[tuple[str, str, str, str]] = []
        for change in changes:
            if change.before == change.after:
                continue
            before, after = _roles_by_target(change.before), _roles_by_target(change.after)
            gone += [(workspace, target, change.record_id) for target in sorted(before.keys() - after.keys())]
            fresh += [(workspace, t, change.record_id, str(dump(roles))) for t, roles in sorted(after.items()) if before.get(t) != roles]
        delete_rows(self._connection, record_references, _REFERENCE, gone)
        upsert_rows(self._connection, record_references, (*_REFERENCE, "roles"), fresh)

    def referred(self, workspace: str, record_ids: Iterable[str]) -> set[str]:
        """Return those of the ids that any record refers to."""
        return {row[0] for row in fetched(self._connection, _REFERRED, these(workspace, record_ids))}

    def ask(self, workspace: str, wanted: Sequence[Fanout]) -> None:
        """Have changes of different records passed on; what waits for the same record already is united with it."""
        rows = fetched(self._connection, _ASKED, these(workspace, [fanout.target_id for fanout in wanted]))
        stored = {fanout.target_id: fanout for fanout in map(_to_fanout, rows)}
        self._store(workspace, [_united(stored.get(fanout.target_id), fanout) for fanout in wanted])

    def workspaces(self) -> list[str]:
        """Return the workspaces in which something is to be passed on."""
        return sorted(self._connection.execute(select(fanouts.c.workspace).distinct()).scalars())

    def oldest(self, workspace: str, most: int) -> list[Fanout]:
        """Return up to `most` changes that are to be passed on, the oldest first."""
        c = fanouts.c
        statement = select(*(c[name] for name in _FANOUT)).where(c.workspace == workspace).order_by(c.since_us, c.target_id).limit(most)
        return [_to_fanout(row) for row in fetched(self._connection, statement)]

    def referrers(self, workspace: str, target_id: str, after_id: str, most: int) -> tuple[int, str | None, list[Referrer]]:
        """Look at up to `most` references to a record after an id.

        Return how many there were, where to go on, None = at the end, and the active records.
        """
        c, r = record_references.c, records.c
        statement = (
            select(c.record_id, c.roles, r.record_type, r.segment_id, r.owner_kind, r.active)
            .join(records, (r.workspace == c.workspace) & (r.record_id == c.record_id))
            .where(c.workspace == workspace, c.target_id == target_id, c.record_id > after_id)
            .order_by(c.record_id)
            .limit(most)
        )
        rows = fetched(self._connection, statement)
        found = [Referrer(i, kind, segment, owner != "", tuple(load(roles))) for i, roles, kind, segment, owner, active in rows if active]
        return len(rows), (rows[-1][0] if len(rows) == most else None), found

    def go_on(self, workspace: str, fanout: Fanout, after_id: str | None) -> None:
        """Note how far a round is; None = it is over, and what has changed since begins another."""
        if after_id is not None:
            self._store(workspace, [fanout._replace(after_id=after_id)])
        elif fanout.next_cause is not None:
            self._store(workspace, [fanout._replace(cause=fanout.next_cause, next_cause=None, after_id="")])
        else:
            delete_rows(self._connection, fanouts, ("workspace", "target_id"), [(workspace, fanout.target_id)])

    def _store(self, workspace: str, found: Sequence[Fanout]) -> None:
        rows = [(workspace, f.target_id, f.record_type, f.since_us, dump(f.cause), dump(f.next_cause), f.after_id) for f in found]
        upsert_rows(self._connection, fanouts, _FANOUT, rows)


def _roles_by_target(related: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for role, target in sorted(related.items()):
        found.setdefault(target, []).append(role)
    return found


def _united(stored: Fanout | None, wanted: Fanout) -> Fanout:
    """Return one fanout for two. A round that has begun goes on: begun anew by every change, it might never reach the last record."""
    if stored is None:
        return wanted
    if not stored.after_id:
        return stored._replace(record_type=wanted.record_type, cause=merge_causes(stored.cause, wanted.cause))
    following = wanted.cause if stored.next_cause is None else merge_causes(stored.next_cause, wanted.cause)
    return stored._replace(record_type=wanted.record_type, next_cause=following)


def _to_fanout(row: Sequence[object]) -> Fanout:
    _, target_id, record_type, since_us, cause, next_cause, after_id = row
    return Fanout(str(target_id), str(record_type), int(str(since_us)), load(str(cause)), load(str(next_cause)), str(after_id))
