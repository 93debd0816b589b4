"""The steps that enrollments come to, when they are to be looked at, and the versions of sequences, within one transaction."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, func, or_, select, update

from reallot.storage.among import among, named, these
from reallot.storage.dialect import delete_rows, fetched, upsert_rows
from reallot.storage.documents import load
from reallot.storage.entities import Json
from reallot.storage.tables import enrollments, sequence_versions, step_looks, steps

OPEN, COMPLETED, SKIPPED, CANCELLED = "OPEN", "COMPLETED", "SKIPPED", "CANCELLED"
"""States of a step."""
_KEY = ("workspace", "record_id")


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step that an enrollment came to.

    Attributes:
        number: Position among the steps of its enrollment, from 1.
        step: Number of the step in its sequence, from 1.
        state: OPEN, COMPLETED, SKIPPED or CANCELLED.
        seller_id: Who is to do it, or whose working time counts; "" = nobody.
        not_before_us: It falls due no earlier than this: when it was reached, or until when it was put off.
        due_us: When it falls due, or a pause ends; None = not known yet.
        overdue_us: When it is overdue; None = never, or not known yet.
        told: 1 once it was told that it fell due, 2 once that it was overdue.
    """

    enrollment_id: str
    number: int
    record_id: str
    sequence_id: str
    sequence_version: int
    step: int
    step_id: str
    kind: str
    state: str = OPEN
    seller_id: str = ""
    reached_us: int = 0
    not_before_us: int = 0
    due_us: int | None = None
    overdue_us: int | None = None
    told: int = 0
    end_us: int | None = None
    outcome: str = ""
    end_reason: str = ""


_COLUMNS = tuple(f.name for f in fields(StepRow))


class StepLook(NamedTuple):
    """The steps of a record are to be looked at. `told`: what brought the record to its step told its owner so."""

    record_id: str
    told: bool = False


class StepCount(NamedTuple):
    """How many steps of one kind of place stand alike."""

    step: int
    step_id: str
    kind: str
    state: str
    outcome: str
    end_reason: str
    number: int


class StepRepository:
    """Steps of all workspaces. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.asked: set[str] = set()
        """Workspaces in which steps are to be looked at since this was made."""

    def ask(self, workspace: str, looks: Sequence[StepLook], now_us: int) -> None:
        """Have the steps of records looked at as soon as possible; what was told stays told until then."""
        united: dict[str, bool] = {}
        for look in looks:
            united[look.record_id] = look.told or united.get(look.record_id, False)
        if not united:
            return
        rows = [(workspace, record_id, now_us, int(told)) for record_id, told in united.items()]
        upsert_rows(self._connection, step_looks, (*_KEY, "due_us", "told"), rows, latest=("told",))
        self.asked.add(workspace)

    def plan(self, workspace: str, times: Mapping[str, int | None]) -> None:
        """Note when the steps of records are to be looked at next; None = not by the clock alone."""
        rows = [(workspace, record_id, due_us, 0) for record_id, due_us in times.items() if due_us is not None]
        upsert_rows(self._connection, step_looks, (*_KEY, "due_us", "told"), rows)
        delete_rows(self._connection, step_looks, _KEY, [(workspace, record_id) for record_id, due_us in times.items() if due_us is None])
        if rows:
            self.asked.add(workspace)

    def next_due(self) -> list[tuple[str, int]]:
        """Return the workspaces with steps to be looked at and when the first of each is, the earliest first."""
        c = step_looks.c
        earliest = func.min(c.due_us)
        rows = self._connection.execute(select(c.workspace, earliest).group_by(c.workspace).order_by(earliest, c.workspace))
        return [(workspace, due_us) for workspace, due_us in rows]

    def due(self, workspace: str, now_us: int, most: int) -> list[StepLook]:
        """Return up to `most` records whose steps are to be looked at by now, the earliest first."""
        c = step_looks.c
        statement = select(c.record_id, c.told).where(c.workspace == workspace, c.due_us <= now_us)
        rows = fetched(self._connection, statement.order_by(c.due_us, c.record_id).limit(most))
        return [StepLook(record_id, bool(told)) for record_id, told in rows]

    def told(self, workspace: str, record_id: str) -> bool:
        """Tell whether what brought a record to its step told its owner so."""
        c = step_looks.c
        return bool(self._connection.execute(select(c.told).where(c.workspace == workspace, c.record_id == record_id)).scalar())

    def ask_sellers(self, workspace: str, seller_ids: Collection[str], now_us: int) -> None:
        """Have the open steps of sellers looked at: their working time has changed."""
        c = steps.c
        statement = select(c.record_id).where(c.workspace == workspace, among(c.seller_id, seller_ids), c.state == OPEN).distinct()
        found = fetched(self._connection, statement.order_by(c.record_id))
        self.ask(workspace, [StepLook(record_id) for (record_id,) in found], now_us)

    def put(self, workspace: str, rows: Sequence[StepRow]) -> None:
        """Store steps as given."""
        values = [(workspace, *(getattr(row, name) for name in _COLUMNS)) for row in rows]
        upsert_rows(self._connection, steps, ("workspace", *_COLUMNS), values)

    def open_of(self, workspace: str, record_ids: Iterable[str]) -> dict[str, list[StepRow]]:
        """Return the open steps of records, by record."""
        found: dict[str, list[StepRow]] = {}
        for row in self._connection.execute(_OPEN, these(workspace, record_ids)):
            found.setdefault(row.record_id, []).append(_to_step(row))
        return found

    def of_enrollments(self, workspace: str, enrollment_ids: Iterable[str]) -> list[StepRow]:
        """Return the steps of enrollments in the order in which they came to them."""
        return [_to_step(row) for row in self._connection.execute(_OF_ENROLLMENTS, these(workspace, enrollment_ids))]

    def page(
        self,
        workspace: str,
        kinds: Collection[str],
        *,
        seller_id: str = "",
        record_id: str = "",
        sequence_id: str = "",
        due_by_us: int | None = None,
        after: tuple[str, str] | None = None,
        limit: int = 50,
    ) -> list[StepRow]:
        """Return up to `limit` open steps of some kinds with a record and enrollment after `after`, by these."""
        c = steps.c
        statement = select(steps).where(c.workspace == workspace, c.state == OPEN, among(c.kind, kinds))
        for column, value in ((c.seller_id, seller_id), (c.record_id, record_id), (c.sequence_id, sequence_id)):
            if value:
                statement = statement.where(column == value)
        if due_by_us is not None:
            statement = statement.where(c.due_us <= due_by_us)
        if after is not None:
            statement = statement.where(or_(c.record_id > after[0], and_(c.record_id == after[0], c.enrollment_id > after[1])))
        return [_to_step(row) for row in self._connection.execute(statement.order_by(c.record_id, c.enrollment_id).limit(limit))]

    def ended_since(self, workspace: str, record_id: str, kinds: Collection[str], since_us: int) -> dict[tuple[str, int], int]:
        """Return how often steps of some kinds of a record have ended since an instant, by sequence and number of the step."""
        c = steps.c
        ended = (c.workspace == workspace, c.record_id == record_id, among(c.kind, kinds), c.end_us >= since_us)
        statement = select(c.sequence_id, c.step, func.count()).where(*ended).group_by(c.sequence_id, c.step)
        return {(sequence_id, step): number for sequence_id, step, number in self._connection.execute(statement)}

    def cancel(self, workspace: str, enrollment_ids: Mapping[str, str], now_us: int) -> None:
        """Have the open steps of enrollments fall away, each for a reason."""
        for reason in sorted(set(enrollment_ids.values())):
            ids = [name for name, why in enrollment_ids.items() if why == reason]
            gone = update(steps).where(steps.c.workspace == workspace, among(steps.c.enrollment_id, ids), steps.c.state == OPEN)
            self._connection.execute(gone.values(state=CANCELLED, end_us=now_us, end_reason=reason))

    def cancel_all(self, workspace: str, record_ids: Collection[str], reason: str, now_us: int) -> None:
        """Have all open steps of records fall away."""
        gone = update(steps).where(steps.c.workspace == workspace, among(steps.c.record_id, record_ids), steps.c.state == OPEN)
        self._connection.execute(gone.values(state=CANCELLED, end_us=now_us, end_reason=reason))

    def counts(self, workspace: str, sequence_id: str, version: int) -> list[StepCount]:
        """Return how many steps of a sequence stand how; version 0 = of all versions."""
        c = steps.c
        columns = (c.step, c.step_id, c.kind, c.state, c.outcome, c.end_reason)
        statement = select(*columns, func.count()).where(c.workspace == workspace, c.sequence_id == sequence_id)
        if version:
            statement = statement.where(c.sequence_version == version)
        return [StepCount(*row) for row in self._connection.execute(statement.group_by(*columns).order_by(*columns))]

    def ends(self, workspace: str, sequence_id: str, version: int) -> list[tuple[int, int, str, int]]:
        """Return version, step and reason ("" = it runs) of a sequence's enrollments with how many there are; version 0 = all."""
        c = enrollments.c
        columns = (c.sequence_version, c.step, c.end_reason)
        statement = select(*columns, func.count()).where(c.workspace == workspace, c.sequence_id == sequence_id)
        if version:
            statement = statement.where(c.sequence_version == version)
        found = self._connection.execute(statement.group_by(*columns).order_by(*columns))
        return [(of, step, reason, number) for of, step, reason, number in found]

    def version(self, workspace: str, sequence_id: str, version: int) -> Json:
        """Return a version of a sequence as the JSON document that was applied; None if there is none."""
        c = sequence_versions.c
        chosen = and_(c.workspace == workspace, c.sequence_id == sequence_id, c.version == version)
        body = self._connection.execute(select(c.body).where(chosen)).scalar()
        return None if body is None else load(body)

    def running(self, workspace: str) -> list[tuple[str, int, int]]:
        """Return sequence and version of the enrollments that run, with how many there are."""
        c = enrollments.c
        statement = select(c.sequence_id, c.sequence_version, func.count()).where(c.workspace == workspace, c.state == "ACTIVE")
        rows = self._connection.execute(statement.group_by(c.sequence_id, c.sequence_version).order_by(c.sequence_id, c.sequence_version))
        return [(sequence_id, version, number) for sequence_id, version, number in rows]


_OPEN = select(steps).where(named(steps, "record_id"), steps.c.state == OPEN).order_by(steps.c.enrollment_id, steps.c.number)
_OF_ENROLLMENTS = select(steps).where(named(steps, "enrollment_id")).order_by(steps.c.enrollment_id, steps.c.number)


def _to_step(row: Any) -> StepRow:
    return StepRow(*(row._mapping[name] for name in _COLUMNS))
