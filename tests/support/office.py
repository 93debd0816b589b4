"""A server's road without its loops and its network: real services, lanes and tables, taken step by step at a time that is set."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from reallot.server.answers.desk import QuestionDesk
from reallot.server.clock import ManualClock
from reallot.server.lanes import IntakeLane, RunLane
from reallot.server.progress import ProgressBoard
from reallot.server.road.batch import Piece, Planned, Task
from reallot.server.road.solve import solve_task
from reallot.server.runtime import Runtime
from reallot.server.services.assignment import AssignmentService
from reallot.server.services.configuration import ConfigService
from reallot.server.services.insight import InsightService
from reallot.server.services.records import RecordService
from reallot.server.settings import Settings
from reallot.server.steps import StepLoop
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import Database, ReadTransaction, Signal, WriteTransaction
from reallot.storage.entities import Enrollment, EventDraft, Load, Notice, Record, Run, Seller, Turn
from reallot.v1 import assignment_service_pb2, config_pb2, config_service_pb2, record_service_pb2, run_pb2
from support.api import a_row, fields_of, resource
from support.rows import all_records, loads

T = TypeVar("T")
HOUR_US = 3_600_000_000
NO_RERUNS = {"rerun_on": {"causes": []}}
_names = itertools.count(1)


class InThisProcess:
    """Plans tasks in this process. `before` is called with each task before it is planned, `after` before its plan is handed over."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.before: Callable[[Task], None] = lambda _task: None
        self.after: Callable[[Task], None] = lambda _task: None

    @asynccontextmanager
    async def plan(self, task: Task, on_stage: Callable[[str], None], time_limit_s: float | None = None) -> AsyncIterator[Planned]:
        """Give the plan of a task."""
        self.before(task)
        plan, pieces = await self._runtime.read(lambda tx: solve_task(tx, self._runtime.configs.of(tx, task.workspace), task, on_stage))
        self.after(task)

        async def handed_over() -> AsyncIterator[Piece]:
            for piece in pieces:
                yield piece

        yield Planned(plan, handed_over())


class Office:
    """One workspace with all that works in it. Belongs to one thread."""

    def __init__(self, url: str, now_us: int, **settings: Any) -> None:
        self.clock = ManualClock(now_us)
        self.db = Database(url, clock_us=self.clock.now_us)
        self.runner = asyncio.Runner()
        self.runtime = Runtime(self.db, self.clock, Settings(database_url=url, **settings))
        self.worker = InThisProcess(self.runtime)
        self.restart()
        self.workspace = "default"

    def restart(self) -> None:
        """Forget all that is not in the database."""
        board = ProgressBoard()
        self.intake, self.runs = IntakeLane(self.runtime, self.worker), RunLane(self.runtime, self.worker, board)
        self.desk = QuestionDesk(self.runtime.settings.database_url, 1, 60.0)
        self.assignment = AssignmentService(self.runtime, board, self.desk)

    def close(self) -> None:
        """Close the database."""
        self.desk.close()
        self.runner.close()
        self.db.close()

    def move(self) -> None:
        """Go on in a workspace that nobody has used."""
        self.workspace = f"w{next(_names)}"

    def read(self, function: Callable[[ReadTransaction], T]) -> T:
        return self.db.read(function)

    def write(self, function: Callable[[WriteTransaction], T]) -> T:
        return self.db.write(self.workspace, function)

    def call(self, method: Callable[..., Any], request: Any) -> Any:
        """Call a service's method and return the answer."""
        request.workspace = self.workspace
        return self.runner.run(method(request, None))

    @property
    def config(self) -> WorkspaceConfig:
        return self.read(lambda tx: self.runtime.configs.of(tx, self.workspace))

    # What comes in

    def apply(self, *resources: config_pb2.ConfigResource) -> None:
        """Store configuration."""
        self.call(ConfigService(self.runtime).Apply, config_service_pb2.ApplyRequest(resources=resources))

    def hire(self, *sellers: Seller, since: Iterable[int] = ()) -> None:
        """Store sellers; `since` are the turns at which they were last given a lead."""
        turns = [Turn(seller.seller_id, "lead", order, order) for seller, order in zip(sellers, since, strict=False)]
        self.write(lambda tx: (tx.sellers.upsert(self.workspace, sellers), tx.sellers.set_turns(self.workspace, turns)))

    def seller(self, seller_id: str, **changes: Any) -> None:
        """Change a stored seller."""
        stored = self.read(lambda tx: tx.sellers.get(self.workspace, [seller_id]))[seller_id]
        self.write(lambda tx: tx.sellers.upsert(self.workspace, [replace(stored, **changes)]))

    def upsert(self, *rows: record_service_pb2.RecordUpsert, quiet: bool = False) -> list[record_service_pb2.UpsertResult]:
        """Write records."""
        request = record_service_pb2.UpsertRecordsRequest(records=rows, quiet=quiet)
        return list(self.call(RecordService(self.runtime).UpsertRecords, request).results)

    def lead(self, record_id: str, *, quiet: bool = False, **fields: Any) -> record_service_pb2.UpsertResult:
        """Write one lead with these fields."""
        return self.upsert(a_row(record_id, fields), quiet=quiet)[0]

    # What is done with it

    def work(self) -> None:
        """Let the lanes work until nothing waits."""
        for _ in range(20):
            self.runner.run(self.intake.drain())
            self.runner.run(self.runs.drain())
            if not self.config.settings.paused:
                self.write(lambda tx: StepLoop.carry_out(tx, self.config))
            if not self.read(lambda tx: tx.pending.count(self.workspace) and not self.config.settings.paused):
                return
        raise AssertionError("the lanes do not come to rest")

    def start(self, *, limit: int = 0, **selection: Any) -> str:
        """Ask for a run and return its id."""
        request = assignment_service_pb2.StartRunRequest(selection=run_pb2.RunSelection(**selection), limit=limit)
        return str(self.call(self.assignment.StartRun, request).run_id)

    def run(self, **parts: Any) -> Run:
        """Ask for a run, let it be carried out, and return it."""
        run_id = self.start(**parts)
        self.work()
        return self.stored_run(run_id)

    def while_planning(self, act: Callable[[], Any]) -> None:
        """Have something happen once, between the next plan and its commit."""

        def once(_task: Task) -> None:
            self.worker.after = lambda _task: None
            act()

        self.worker.after = once

    def after_next_commit(self, act: Callable[[], Any], *, when: Callable[[], bool]) -> None:
        """Have something happen once, right after the next commit that `when` holds after, before anybody hears of it."""
        done: list[bool] = []

        def listen(_signals: frozenset[Signal]) -> None:
            if not done and when():
                done.append(True)
                act()

        self.db.on_commit(listen)

    # What has become of it

    def stored_run(self, run_id: str) -> Run:
        return self.read(lambda tx: tx.runs.get(self.workspace, run_id))

    def record(self, record_id: str) -> Record:
        return self.read(lambda tx: tx.records.get(self.workspace, [record_id]))[record_id]

    def records(self) -> list[Record]:
        return all_records(self.db, self.workspace)

    def owner(self, record_id: str) -> str:
        """Return the owner's id, "" for nobody."""
        found = self.record(record_id).owner
        return found.id if found else ""

    def owners(self, *record_ids: str) -> list[str]:
        return [self.owner(record_id) for record_id in record_ids]

    def loads(self) -> list[Load]:
        return loads(self.db, self.workspace)

    def events(self, record_id: str = "", *kinds: str) -> list[EventDraft]:
        """Return the events, of one record or all, in order."""
        found = self.read(lambda tx: tx.events.after(self.workspace, 0, 100_000))
        drafts = [event.draft for event in found if not record_id or event.draft.record_id == record_id]
        return [draft for draft in drafts if not kinds or draft.kind in kinds]

    def notices(self, seller_id: str) -> list[Notice]:
        return self.read(lambda tx: tx.events.notices_after(self.workspace, seller_id, 0, 1_000))

    def enrollments(self, record_id: str) -> list[Enrollment]:
        """Return the enrollments of a record, newest first."""
        return self.read(lambda tx: tx.enrollments.page(self.workspace, record_id=record_id))

    def insight(self) -> InsightService:
        return InsightService(self.runtime, self.desk)


def leads(*segments: dict[str, Any], settings: dict[str, Any] | None = None) -> list[config_pb2.ConfigResource]:
    """Return a configuration for leads, with sequences `one` and `two`; without `settings` nothing reruns by itself."""
    fields = fields_of(revenue="DECIMAL", country="TEXT", score="INTEGER", name="TEXT")
    said = {"seller_fields": fields_of(country="TEXT")} | (NO_RERUNS if settings is None else settings)
    steps = [{"step_id": name, "email": {"template": "t"}} for name in ("hello", "again")]
    return [
        resource(settings=said),
        resource(team={"team_id": "field"}),
        resource(record_type={"record_type": "lead", "fields": fields, "title_field": "name"}),
        *(resource(sequence={"sequence_id": s, "record_type": "lead", "steps": steps}) for s in ("one", "two")),
        *(resource(segment=segment) for segment in segments),
    ]


def everybody(segment_id: str = "all", *rules: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """Return the default segment of leads, by default with one round-robin rule over all sellers."""
    return {"segment_id": segment_id, "record_type": "lead", "is_default": True, "rules": rules or [{"rule_id": "any"}], **parts}


def listed(rule_id: str, *seller_ids: str, **parts: Any) -> dict[str, Any]:
    """Return a rule over listed sellers."""
    return {"rule_id": rule_id, "target": {"sellers": {"seller_ids": seller_ids}}, **parts}
