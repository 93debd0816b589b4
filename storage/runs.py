"""Runs, the decision log, enrollments, and answers kept for repeated requests, within one transaction."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from reallot.storage.among import among, named, these
from reallot.storage.audit import AuditRepository
from reallot.storage.dialect import insert_rows
from reallot.storage.documents import dump, load
from reallot.storage.entities import Decision, Enrollment, Json, Run, StoredAnswer
from reallot.storage.errors import AlreadyExists, NotFound
from reallot.storage.moves import DecisionText, decision_text
from reallot.storage.tables import UNFINISHED, decisions, enrollments, requests, runs

_DOCUMENTS = ("cause", "selection", "counts", "body")
_PLAIN = [f.name for f in fields(Run) if f.name not in (*_DOCUMENTS, "schedule_id")]


def _to_run(row: Any) -> Run:
    values = row._mapping
    return Run(
        schedule_id=values["schedule_id"] or "",
        **{name: load(values[name]) for name in _DOCUMENTS},
        **{name: values[name] for name in _PLAIN},
    )


def _to_row(workspace: str, run: Run) -> dict[str, Any]:
    return {
        "workspace": workspace,
        # NULL, so that only runs of schedules are held to one for a firing.
        "schedule_id": run.schedule_id or None,
        **{name: dump(getattr(run, name)) for name in _DOCUMENTS},
        **{name: getattr(run, name) for name in _PLAIN},
    }


def _asked(run: Run) -> dict[str, Json]:
    """Return what people ask of a run, and what came of it."""
    return {"kind": run.kind, "state": run.state, "cause": run.cause, "limit": run.limit, "cancel_requested": run.cancel_requested}


class RunRepository:
    """Runs of all workspaces. Not thread-safe."""

    def __init__(self, connection: Connection, audit: AuditRepository | None = None) -> None:
        self._connection = connection
        self._audit = audit or AuditRepository(connection)

    def create(self, workspace: str, run: Run) -> bool:
        """Store a new run. False if the run of this schedule and firing exists already; nothing is stored then.

        Raises:
            AlreadyExists: another run has its id.
        """
        try:
            with self._connection.begin_nested():
                self._connection.execute(insert(runs), [_to_row(workspace, run)])
        except IntegrityError:
            if self._connection.execute(select(runs.c.run_id).where(runs.c.workspace == workspace, runs.c.run_id == run.run_id)).first():
                raise AlreadyExists(f"run {run.run_id!r} exists already") from None
            return False
        self._audit.note(workspace, [("run", run.run_id, None, _asked(run))])
        return True

    def get(self, workspace: str, run_id: str) -> Run:
        """Return a run.

        Raises:
            NotFound: there is none.
        """
        row = self._connection.execute(select(runs).where(runs.c.workspace == workspace, runs.c.run_id == run_id)).first()
        if row is None:
            raise NotFound("run", run_id)
        return _to_run(row)

    def page(
        self,
        workspace: str,
        *,
        kinds: Sequence[str] | None = None,
        schedule_id: str = "",
        before: tuple[int, str] | None = None,
        limit: int = 50,
    ) -> list[Run]:
        """Return up to `limit` runs older than `before` (creation, id), newest first."""
        c = runs.c
        statement = select(runs).where(c.workspace == workspace).order_by(c.create_us.desc(), c.run_id.desc()).limit(limit)
        if kinds:
            statement = statement.where(c.kind.in_(list(kinds)))
        if schedule_id:
            statement = statement.where(c.schedule_id == schedule_id)
        if before is not None:
            statement = statement.where(or_(c.create_us < before[0], (c.create_us == before[0]) & (c.run_id < before[1])))
        return [_to_run(row) for row in self._connection.execute(statement)]

    def unfinished(self, workspace: str) -> list[Run]:
        """Return the runs that wait or work, in order of creation."""
        c = runs.c
        statement = select(runs).where(c.workspace == workspace, UNFINISHED).order_by(c.create_us, c.run_id)
        return [_to_run(row) for row in self._connection.execute(statement)]

    def workspaces(self) -> list[str]:
        """Return the workspaces with runs that wait or work."""
        return sorted(self._connection.execute(select(runs.c.workspace).where(UNFINISHED).distinct()).scalars())

    def update(self, workspace: str, run: Run) -> None:
        """Store a run as given, but for `cancel_requested`, which only `request_cancel` sets."""
        if self._audit.is_noting:
            self._audit.note(workspace, [("run", run.run_id, _asked(self.get(workspace, run.run_id)), _asked(run))])
        row = _to_row(workspace, run)
        del row["cancel_requested"]
        self._change(workspace, run.run_id, row)

    def request_cancel(self, workspace: str, run_id: str) -> None:
        """Ask a run to stop."""
        if self._audit.is_noting:
            before = _asked(self.get(workspace, run_id))
            self._audit.note(workspace, [("run", run_id, before, before | {"cancel_requested": True})])
        self._change(workspace, run_id, {"cancel_requested": True})

    def _change(self, workspace: str, run_id: str, values: dict[str, Any]) -> None:
        statement = update(runs).where(runs.c.workspace == workspace, runs.c.run_id == run_id).values(values)
        if not self._connection.execute(statement).rowcount:
            raise NotFound("run", run_id)


class DecisionRepository:
    """The decision log. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of_record(self, workspace: str, record_id: str, before_id: int | None, limit: int) -> list[Decision]:
        """Return up to `limit` lines of a record older than `before_id`, newest first."""
        c = decisions.c
        statement = select(decisions).where(c.workspace == workspace, c.record_id == record_id)
        if before_id is not None:
            statement = statement.where(c.decision_id < before_id)
        return [_to_decision(row) for row in self._connection.execute(statement.order_by(c.decision_id.desc()).limit(limit))]

    def note(self, workspace: str, lines: Sequence[tuple[Decision, int]]) -> None:
        """Add lines about records that stay as they are, each with its record's version."""
        rows = [(line.record_id, *decision_text(line, version)) for line, version in lines]
        columns = ("record_id", *DecisionText._fields)
        insert_rows(self._connection, decisions, columns, rows, {"workspace": workspace, "considered": dump(None)})

    def of_run(self, workspace: str, run_id: str, after_id: int, limit: int) -> list[Decision]:
        """Return up to `limit` lines of a run after `after_id`, in order."""
        c = decisions.c
        statement = select(decisions).where(c.workspace == workspace, c.run_id == run_id, c.decision_id > after_id)
        return [_to_decision(row) for row in self._connection.execute(statement.order_by(c.decision_id).limit(limit))]

    def latest(self, workspace: str, record_ids: Collection[str]) -> dict[str, Decision]:
        """Return the last line of each of the records that have any, by record."""
        c = decisions.c
        last = select(func.max(c.decision_id)).where(c.workspace == workspace, among(c.record_id, record_ids)).group_by(c.record_id)
        rows = self._connection.execute(select(decisions).where(c.decision_id.in_(last.scalar_subquery())))
        return {row.record_id: _to_decision(row) for row in rows}

    def oldest_us(self, workspace: str) -> int | None:
        """Return the instant of the oldest line; None if there is none."""
        return self._connection.execute(select(func.min(decisions.c.time_us)).where(decisions.c.workspace == workspace)).scalar()

    def forget(self, workspace: str, before_us: int, most: int) -> int:
        """Remove up to `most` lines that are older than `before_us`, the oldest first; return how many."""
        c = decisions.c
        old = select(c.decision_id).where(c.workspace == workspace, c.time_us < before_us).order_by(c.time_us).limit(most)
        return int(self._connection.execute(delete(decisions).where(c.decision_id.in_(old.scalar_subquery()))).rowcount)


def _to_decision(row: Any) -> Decision:
    values = row._mapping
    documents = {name: load(values[name]) for name in ("cause", "before", "after", "considered")}
    plain = {name: values[name] for name in ("decision_id", "record_id", "time_us", "status", "reason", "rule_id", "run_id", "version")}
    return Decision(**plain, **documents)


class EnrollmentRepository:
    """Enrollments. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def page(
        self,
        workspace: str,
        *,
        record_id: str = "",
        sequence_id: str = "",
        state: str = "",
        before: tuple[int, str] | None = None,
        limit: int = 50,
    ) -> list[Enrollment]:
        """Return up to `limit` enrollments older than `before` (start, id), newest first."""
        c = enrollments.c
        statement = select(enrollments).where(c.workspace == workspace)
        for column, value in ((c.record_id, record_id), (c.sequence_id, sequence_id), (c.state, state)):
            if value:
                statement = statement.where(column == value)
        if before is not None:
            statement = statement.where(or_(c.start_us < before[0], (c.start_us == before[0]) & (c.enrollment_id < before[1])))
        rows = self._connection.execute(statement.order_by(c.start_us.desc(), c.enrollment_id.desc()).limit(limit))
        names = [f.name for f in fields(Enrollment)]
        return [Enrollment(**{name: row._mapping[name] for name in names}) for row in rows]

    def passed(self, workspace: str, record_ids: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return the sequences of the last passage of records, from one advanced to the next, unless it was broken off from outside."""
        found: dict[str, list[Any]] = {}
        for row in self._connection.execute(_PASSAGES, these(workspace, record_ids)):
            found.setdefault(row.record_id, []).append(row)
        return {record_id: _last_passage(rows) for record_id, rows in found.items()}


_PASSAGES = select(enrollments).where(named(enrollments, "record_id"))
_BY_ITSELF = ("", "COMPLETED", "EXIT_CONDITION", "EXIT_OUTCOME", "ADVANCED", "SEQUENCE_INACTIVE", "LOOP")
"""Reasons for which an enrollment ends without anybody having moved or disconnected the record; "" = it runs."""


def _last_passage(rows: Iterable[Any]) -> frozenset[str]:
    # The version of the record stands in the id, after its last stroke: it tells enrollments of one instant apart.
    newest_first = sorted(rows, key=lambda row: (row.start_us, int(row.enrollment_id.rpartition("/")[2])), reverse=True)
    found: set[str] = set()
    for row in newest_first:
        if row.end_reason not in _BY_ITSELF or (found and row.end_reason != "ADVANCED"):
            break
        found.add(row.sequence_id)
    return frozenset(found)


_ANSWERED = select(requests).where(named(requests, "request_id"))
_EXPIRED = delete(requests).where(named(requests, "request_id"), requests.c.time_us < bindparam("before_us"))


class RequestRepository:
    """Answers to requests that were carried out. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, workspace: str, request_ids: Iterable[str]) -> dict[str, StoredAnswer]:
        """Return the answers to those of the requests that were carried out, by id."""
        rows = self._connection.execute(_ANSWERED, these(workspace, request_ids))
        return {row.request_id: StoredAnswer(row.request_id, row.method, row.payload_hash, row.answer, row.time_us) for row in rows}

    def keep(self, workspace: str, answers: Sequence[StoredAnswer]) -> None:
        """Store the answers to requests.

        Raises:
            AlreadyExists: one was answered already; the unit of work is undone.
        """
        if not answers:
            return
        names = [f.name for f in fields(StoredAnswer)]
        rows = [(workspace, *(getattr(answer, name) for name in names)) for answer in answers]
        try:
            insert_rows(self._connection, requests, ("workspace", *names), rows)
        except IntegrityError:
            ids = ", ".join(repr(answer.request_id) for answer in answers[:5])
            raise AlreadyExists(f"one of the requests {ids} was answered already") from None

    def page(self, workspace: str, after: str, limit: int) -> list[StoredAnswer]:
        """Return up to `limit` answers to requests with greater ids, by id."""
        c = requests.c
        statement = select(requests).where(c.workspace == workspace, c.request_id > after).order_by(c.request_id).limit(limit)
        rows = self._connection.execute(statement)
        return [StoredAnswer(row.request_id, row.method, row.payload_hash, bytes(row.answer), row.time_us) for row in rows]

    def rewrite(self, workspace: str, answers: Sequence[StoredAnswer]) -> None:
        """Store what answers say from now on; those that are gone meanwhile stay so."""
        c = requests.c
        for answer in answers:
            same = and_(c.workspace == workspace, c.request_id == answer.request_id)
            self._connection.execute(update(requests).where(same).values(answer=answer.answer))

    def workspaces(self, before_us: int) -> list[str]:
        """Return the workspaces that have answers older than `before_us`."""
        return sorted(self._connection.execute(select(requests.c.workspace).where(requests.c.time_us < before_us).distinct()).scalars())

    def forget(self, workspace: str, before_us: int, most: int) -> int:
        """Remove up to `most` answers that are older than `before_us`; return how many."""
        c = requests.c
        old = select(c.request_id).where(c.workspace == workspace, c.time_us < before_us).order_by(c.time_us).limit(most)
        chosen = and_(c.workspace == workspace, c.request_id.in_(old.scalar_subquery()))
        return int(self._connection.execute(delete(requests).where(chosen)).rowcount)

    def forget_these(self, workspace: str, request_ids: Iterable[str], before_us: int) -> None:
        """Remove those of these answers that are older than `before_us`: their ids may be used again."""
        self._connection.execute(_EXPIRED, these(workspace, request_ids) | {"before_us": before_us})
