"""Records: reading them, and the one path through which every change of a record goes."""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import fields
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, false, func, or_, select

from reallot.storage.among import among, named, names_text, these
from reallot.storage.contract import RecordColumns, RecordFilter, RecordPart
from reallot.storage.dialect import fetched
from reallot.storage.documents import load, owner_of
from reallot.storage.entities import Limits, Outcome, OwnerKind, Record, Transition
from reallot.storage.errors import VersionConflict
from reallot.storage.moves import Move, MoveWriter, move_of, stored_versions
from reallot.storage.numbering import EventBuffer
from reallot.storage.pending import PendingRepository
from reallot.storage.sellers import SellerRepository
from reallot.storage.steps import StepRepository
from reallot.storage.tables import graves, pending, records

_PLAIN = [f.name for f in fields(Record) if f.name not in ("fields", "related", "owner", "previous_owner")]
_SNAPSHOT = [f.name for f in fields(RecordColumns) if not f.name.startswith("pending_")]

_ACTIVE, _RECORD_ID = _SNAPSHOT.index("active"), _SNAPSHOT.index("record_id")


def to_record(row: Row[Any]) -> Record:
    """Return the record of a row that has all of its columns."""
    values = row._mapping
    return Record(
        fields=load(values["fields"]),
        related=load(values["related"]),
        owner=owner_of(values["owner_kind"], values["owner_id"]),
        previous_owner=owner_of(values["previous_owner_kind"], values["previous_owner_id"]),
        **{name: values[name] for name in _PLAIN},
    )


def conditions_of(workspace: str, wanted: RecordFilter) -> list[ColumnElement[bool]]:
    """Return the filter as conditions."""
    c = records.c
    found: list[ColumnElement[bool]] = [c.workspace == workspace]
    for column, values in (
        (c.record_id, wanted.record_ids),
        (c.record_id, wanted.among_ids),
        (c.record_type, wanted.record_types),
        (c.segment_id, wanted.segment_ids),
        (c.assignment, wanted.statuses),
        (c.rule_id, wanted.rule_ids),
        (c.group_key, wanted.group_keys),
    ):
        if values is not None:
            found.append(among(column, values))
    if wanted.owner is not None:
        found.append(and_(c.owner_kind == wanted.owner.kind.value, c.owner_id == wanted.owner.id))
    if wanted.owned is not None:
        found.append(c.owner_kind != "" if wanted.owned else _ownerless(wanted))
    if wanted.owned_by_seller is not None:
        found.append((c.owner_kind == OwnerKind.SELLER.value) == wanted.owned_by_seller)
    if wanted.active is not None:
        found.append(c.active == wanted.active)
    if wanted.waiting_before_us is not None:
        found.append(c.waiting_since_us < wanted.waiting_before_us)
    if wanted.next_try_from_us is not None:
        found.append(c.next_try_us >= wanted.next_try_from_us)
    if wanted.next_try_upto_us is not None:
        found.append(c.next_try_us <= wanted.next_try_upto_us)
    if wanted.enrolled is not None:
        found.append(c.enrollment_id != "" if wanted.enrolled else c.enrollment_id == "")
    if wanted.offered is not None:
        found.append(c.offered_to != "" if wanted.offered else c.offered_to == "")
    if wanted.not_run_id is not None:
        found.append(c.run_id != wanted.not_run_id)
    if wanted.parts is not None:
        found.append(or_(false(), *(_is_of(part) for part in wanted.parts)))
    return found


def _ownerless(wanted: RecordFilter) -> ColumnElement[bool]:
    c = records.c
    is_named = wanted.record_ids is not None or wanted.among_ids is not None
    # There is an index over owners' ids, and mostly few records have none. Named ones are found by their key.
    return c.owner_kind == "" if is_named else and_(c.owner_kind == "", c.owner_id == "")


def _is_of(part: RecordPart) -> ColumnElement[bool]:
    c = records.c
    named = (or_(*(names_text(c.fields, field, texts) for field, texts in either)) for either in part.texts)
    return and_(c.record_type == part.record_type, c.segment_id == part.segment_id, *named)


_NAMED = select(records).where(named(records, "record_id")).order_by(records.c.record_id)
_MARKED = select(pending.c.record_id).where(named(pending, "record_id"))
_LAST_VERSIONS = select(graves.c.record_id, graves.c.version).where(named(graves, "record_id"))


class RecordRepository:
    """Records of all workspaces, within one transaction. Not thread-safe."""

    def __init__(
        self, connection: Connection, buffer: EventBuffer, marks: PendingRepository, sellers: SellerRepository, steps: StepRepository
    ) -> None:
        self._connection = connection
        self._marks = marks
        self._writer = MoveWriter(connection, buffer, marks, sellers, steps)
        # Whoever writes holds the workspace's lock, so what was read in this transaction holds until it writes itself.
        self._versions: dict[tuple[str, str], int | None] = {}
        self._last: dict[tuple[str, str], int] = {}

    def get(self, workspace: str, record_ids: Iterable[str]) -> dict[str, Record]:
        """Return the records that exist, by id."""
        names = list(record_ids)
        found = {row.record_id: to_record(row) for row in self._connection.execute(_NAMED, these(workspace, names))}
        self._versions.update({(workspace, name): found[name].version if name in found else None for name in names})
        return found

    def page(self, workspace: str, wanted: RecordFilter, after_id: str = "", limit: int = 50) -> list[Record]:
        """Return up to `limit` records with an id greater than `after_id`, by id."""
        conditions = [*conditions_of(workspace, wanted), records.c.record_id > after_id]
        statement = select(records).where(*conditions).order_by(records.c.record_id).limit(limit)
        return [to_record(row) for row in self._connection.execute(statement)]

    def ids(self, workspace: str, wanted: RecordFilter) -> list[str]:
        """Return the ids of the records that the filter takes, in order."""
        statement = select(records.c.record_id).where(*conditions_of(workspace, wanted)).order_by(records.c.record_id)
        return list(self._connection.execute(statement).scalars())

    def count(self, workspace: str, wanted: RecordFilter) -> int:
        """Return how many records the filter takes."""
        statement = select(func.count()).select_from(records).where(*conditions_of(workspace, wanted))
        return self._connection.execute(statement).scalar_one()

    def places(
        self, workspace: str, wanted: RecordFilter, after: tuple[int, int, str] | None, limit: int, *, by_waiting: bool
    ) -> list[tuple[int, int, str]]:
        """Return priority, age and id of up to `limit` records that the filter takes and that come after a place.

        Higher priorities come first, then smaller ages and ids. The age is the instant of creation, or that since when a record waits.
        """
        c = records.c
        age = func.coalesce(c.waiting_since_us, c.created_us) if by_waiting else c.created_us
        statement = select(c.priority, age, c.record_id).where(*conditions_of(workspace, wanted))
        if after is not None:
            later = or_(age > after[1], and_(age == after[1], c.record_id > after[2]))
            statement = statement.where(or_(c.priority < after[0], and_(c.priority == after[0], later)))
        rows = fetched(self._connection, statement.order_by(c.priority.desc(), age, c.record_id).limit(limit))
        return [(priority, instant, record_id) for priority, instant, record_id in rows]

    def pending_ids(self, workspace: str, record_ids: Iterable[str]) -> set[str]:
        """Return those of the records that wait for the road."""
        return set(self._connection.execute(_MARKED, these(workspace, record_ids)).scalars())

    def snapshot(self, workspace: str, wanted: RecordFilter) -> RecordColumns:
        """Return the records that the filter takes as columns, by id, with their pending marks."""
        rows = sorted(fetched(self._connection, self._snapshot_statement(workspace, wanted)), key=itemgetter(_RECORD_ID))
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(len(_SNAPSHOT) + 2)]
        columns[_ACTIVE] = [bool(active) for active in columns[_ACTIVE]]
        columns[-2] = [generation or 0 for generation in columns[-2]]
        columns[-1] = [load(cause) if cause else None for cause in columns[-1]]
        return RecordColumns(*columns)

    @staticmethod
    def _snapshot_statement(workspace: str, wanted: RecordFilter) -> Select[Any]:
        marked = and_(pending.c.workspace == records.c.workspace, pending.c.record_id == records.c.record_id)
        statement = (
            select(*(records.c[name] for name in _SNAPSHOT), pending.c.generation, pending.c.cause)
            .select_from(records.outerjoin(pending, marked))
            .where(*conditions_of(workspace, wanted))
        )
        # Asked for the order of the key, SQLite walks through the workspace by it: well where most is wanted, not for the few that wait.
        return statement if wanted.owned is False else statement.order_by(records.c.record_id)

    def mark_where(self, workspace: str, wanted: RecordFilter, since_us: int, cause: Any) -> int:
        """Mark every record that the filter takes and that has no mark yet; return how many."""
        unmarked = ~exists().where(pending.c.workspace == records.c.workspace, pending.c.record_id == records.c.record_id)
        statement = select(records.c.record_id).where(*conditions_of(workspace, wanted), unmarked).order_by(records.c.record_id)
        ids = list(self._connection.execute(statement).scalars())
        self._marks.add_new(workspace, ids, since_us, cause)
        return len(ids)

    def commit(self, workspace: str, transitions: Sequence[Transition], now_us: int) -> list[Outcome]:
        """Carry out transitions of different records, each whole or not at all.

        Loads follow from comparing before and after. A claim that does not fit leaves its record as it was: CAPACITY_LOST.

        Raises:
            VersionConflict: a record is not at its `before.version` any more; nothing is changed.
        """
        _check_form(transitions)
        last = self.last_versions(workspace, [t.after.record_id for t in transitions if t.before is None and t.after is not None])
        moves = [move_of(transition, now_us, last) for transition in transitions]
        if len({move.record_id for move in moves}) != len(moves):
            raise ValueError("a record may stand in only one transition of a commit")
        stored = self._read_versions(workspace, [move.record_id for move in moves])
        stale = sorted(move.record_id for move in moves if stored.get(move.record_id) != move.pattern.version)
        if stale:
            raise VersionConflict(f"records changed since they were read: {', '.join(stale[:5])}")
        self.forget_read(any(move.pattern.version is not None and not move.pattern.state for move in moves))
        return self._writer.carry_out(workspace, moves, [t.claim.limits if t.claim else None for t in transitions], now_us)

    def commit_moves(
        self,
        workspace: str,
        moves: Sequence[Move],
        limits: Mapping[str, Limits],
        now_us: int,
        first_turn: int,
        untold: Set[str] = frozenset(),
    ) -> list[Outcome]:
        """Carry out moves of different records that were written up before, each whole or not at all.

        `limits` are those of the sellers that exist. A move whose record has changed since, or whose new owner is gone, is STALE;
        one whose record does not exist any more is GONE. Turns are numbered from
        `first_turn` by their places. The sellers `untold` get no notices.
        """
        self.forget_read()
        stored = stored_versions(self._connection, workspace, [move.record_id for move in moves])
        fresh = [move for move in moves if _is_fresh(move, stored, limits)]
        claims = [limits[p.turn.seller_id] if p.binding and p.turn else None for p in (move.pattern for move in fresh)]
        made = self._writer.carry_out(workspace, fresh, claims, now_us, first_turn, untold)
        found = {move.record_id: outcome for move, outcome in zip(fresh, made, strict=True)}
        return [found.get(m.record_id, Outcome.STALE if m.record_id in stored else Outcome.GONE) for m in moves]

    def last_versions(self, workspace: str, record_ids: Collection[str]) -> dict[str, int]:
        """Return the last versions of records that were deleted, by id."""
        unread = [name for name in record_ids if (workspace, name) not in self._last]
        if unread:
            found = dict(fetched(self._connection, _LAST_VERSIONS, these(workspace, unread)))
            self._last.update({(workspace, name): found.get(name, 0) for name in unread})
        return {name: last for name in record_ids if (last := self._last[workspace, name])}

    def forget_read(self, deleted: bool = True) -> None:
        """Read versions anew from here on: records were written in this transaction, and `deleted` if they may have been deleted."""
        self._versions.clear()
        if deleted:
            self._last.clear()

    def _read_versions(self, workspace: str, record_ids: Sequence[str]) -> dict[str, int]:
        unread = [name for name in record_ids if (workspace, name) not in self._versions]
        stored = stored_versions(self._connection, workspace, unread)
        stored.update({name: version for name in record_ids if (version := self._versions.get((workspace, name))) is not None})
        return stored


def _is_fresh(move: Move, stored: Mapping[str, int], limits: Mapping[str, Limits]) -> bool:
    pattern = move.pattern
    return stored.get(move.record_id) == pattern.version and (pattern.turn is None or pattern.turn.seller_id in limits)


def _check_form(transitions: Sequence[Transition]) -> None:
    """Refuse transitions that no caller may ask for.

    Raises:
        ValueError: one changes nothing at all, another record, or an enrollment that is not there or in the way.
    """
    for t in transitions:
        if t.before is None and t.after is None:
            raise ValueError("a transition has neither a record before nor one after")
        if t.before is not None and t.after is not None and t.before.record_id != t.after.record_id:
            raise ValueError(f"a transition of {t.before.record_id!r} ends in another record, {t.after.record_id!r}")
        change, is_open = t.enrollment, t.before is not None and bool(t.before.enrollment_id)
        if change is not None and (change.end_reason or change.move_to_step) and not is_open:
            raise ValueError("there is no open enrollment to end or to move")
        if change is not None and change.start_sequence_id and is_open and not change.end_reason:
            raise ValueError("end the open enrollment before another starts")
