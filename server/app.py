"""The composition root: builds every part of a server from its settings, starts and stops them."""

import asyncio
import importlib.metadata
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from grpc_channelz.v1 import channelz, channelz_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from reallot.server.access.authentication import authenticator_of
from reallot.server.access.guard import Guard
from reallot.server.answers.desk import QuestionDesk
from reallot.server.clock import Clock, ManualClock, SystemClock
from reallot.server.door import Door
from reallot.server.due import DueLoop
from reallot.server.erasing import Eraser
from reallot.server.fanouts import FanoutLoop
from reallot.server.interceptors import ErrorInterceptor
from reallot.server.keeper import Keeper
from reallot.server.lanes import IntakeLane, RunLane
from reallot.server.languages import LANGUAGES
from reallot.server.lifetimes import erase_workspace
from reallot.server.listening import listen
from reallot.server.offers import OfferLoop
from reallot.server.personal import erase_person
from reallot.server.progress import ProgressBoard
from reallot.server.quiet import QuietLoop
from reallot.server.readiness import Readiness
from reallot.server.rechecks import RecheckLoop
from reallot.server.room import RoomLoop
from reallot.server.runtime import Runtime
from reallot.server.schedules import ScheduleLoop
from reallot.server.services.assignment import AssignmentService
from reallot.server.services.clock import ClockService
from reallot.server.services.configuration import ConfigService
from reallot.server.services.events import EventService
from reallot.server.services.insight import InsightService
from reallot.server.services.records import RecordService
from reallot.server.services.sellers import SellerService
from reallot.server.services.sequences import SequenceService
from reallot.server.services.solver import SolverService
from reallot.server.services.workspaces import WorkspaceService
from reallot.server.settings import Settings, manual_start_us
from reallot.server.solving import SolvingDesk
from reallot.server.status import Desk
from reallot.server.steps import StepLoop
from reallot.server.streams import Hub
from reallot.server.workers import Worker
from reallot.storage import Database, Signal
from reallot.storage.leases import SoleServer
from reallot.storage.replica import Replica
from reallot.testing.v1 import clock_service_pb2, clock_service_pb2_grpc
from reallot.v1 import (
    assignment_service_pb2,
    assignment_service_pb2_grpc,
    config_service_pb2,
    config_service_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    insight_service_pb2,
    insight_service_pb2_grpc,
    record_service_pb2,
    record_service_pb2_grpc,
    seller_service_pb2,
    seller_service_pb2_grpc,
    sequence_service_pb2,
    sequence_service_pb2_grpc,
    solver_service_pb2,
    solver_service_pb2_grpc,
    workspace_service_pb2,
    workspace_service_pb2_grpc,
)

if TYPE_CHECKING:
    from reallot.server.tracing import Traces

log = structlog.get_logger("reallot.app")

SERVICE_NAMES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (record_service_pb2, "RecordService"),
        (seller_service_pb2, "SellerService"),
        (config_service_pb2, "ConfigService"),
        (assignment_service_pb2, "AssignmentService"),
        (insight_service_pb2, "InsightService"),
        (solver_service_pb2, "SolverService"),
        (sequence_service_pb2, "SequenceService"),
        (event_service_pb2, "EventService"),
        (workspace_service_pb2, "WorkspaceService"),
    )
)
CHANNELZ_NAME = channelz_pb2.DESCRIPTOR.services_by_name["Channelz"].full_name
SETTLE_POLL_S = 0.005
SEND_AWAY_S = 0.2
"""How long callers are sent elsewhere before the server closes its connections."""
LAST_ANSWERS_S = 1.0
"""How long answers that are made may take to be sent when the server stops."""


class Application:
    """A running server. Use as an asynchronous context manager, inside one event loop."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        """Prepare a server.

        Raises:
            CatalogueFault: a further language is not as it should be.
        """
        LANGUAGES.add_folder(settings.languages_folder)
        self.settings = settings
        self.clock = clock or (SystemClock() if settings.clock == "system" else ManualClock(manual_start_us(settings.clock)))
        self.port = 0
        self._authenticator = authenticator_of(settings)
        self._door = Door(settings)
        self._checks = health.aio.HealthServicer()
        self.metrics_port = 0
        self._desk = SolvingDesk(settings.most_solves)
        self._questions = QuestionDesk(
            settings.database_url, settings.most_questions, settings.solve_time_limit_s, settings.languages_folder
        )
        self._parts: tuple[IntakeLane | RunLane | DueLoop | Keeper, ...] = ()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Application":
        """Start; when this returns, calls are answered.

        Raises:
            StorageError: the database cannot be used.
            OSError: the address cannot be listened on.
        """
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop: streams end, running calls finish within the grace period, then everything closes."""
        await self._stack.aclose()

    async def wait(self) -> None:
        """Return when the server has stopped."""
        await self._server.wait_for_termination()

    async def settle(self) -> None:
        """Return when nothing is due, pending or running: for manual clocks and tests."""
        while await self._busy():
            await asyncio.sleep(SETTLE_POLL_S)

    async def _start(self) -> None:
        db = Database(
            self.settings.database_url,
            clock_us=self.clock.now_us,
            most_queued=self.settings.most_queued_writes,
            makes_workspaces=self.settings.create_workspaces,
        )
        self._stack.callback(db.close)
        loop = asyncio.get_running_loop()
        leases = self._join(db, loop) if db.is_shared else SoleServer()
        traces = self._traces()
        self.runtime = Runtime(db, self.clock, self.settings, leases=leases, traces=traces)
        self._stack.callback(self.runtime.arrow.close)
        workers = tuple(Worker(self.settings.database_url) for _ in range(2))
        for worker in workers:
            self._stack.callback(worker.close)
        self._stack.callback(self._desk.close)
        self._stack.callback(self._questions.close)
        await asyncio.gather(*(worker.warm_up() for worker in workers))
        self.hub = Hub(self.runtime)
        self._status = Desk(
            self.runtime,
            self.hub,
            self._door,
            self.runtime.meters,
            workers,
            lambda: self._readiness.ready,
            lambda: f"{self.settings.host}:{self.port}",
            self.clock.now_us(),
        )
        self._readiness = Readiness(self.runtime, self._tell_health)
        board = ProgressBoard()
        self._intake, self._runs = IntakeLane(self.runtime, workers[0]), RunLane(self.runtime, workers[1], board)
        self._keeper = Keeper(self.runtime)
        self._eraser = Eraser(self.runtime, {"workspace": erase_workspace, "seller": erase_person, "record": erase_person})
        self._stack.push_async_callback(self._eraser.close)
        kinds = (ScheduleLoop, RecheckLoop, RoomLoop, OfferLoop, FanoutLoop, StepLoop, QuietLoop)
        self._due_loops: tuple[DueLoop, ...] = tuple(kind(self.runtime) for kind in kinds)
        db.on_commit(lambda signals: _on_loop(loop, self._hear, signals))
        if isinstance(self.clock, ManualClock):
            self.clock.settle_with(self.settle)
        self._parts = (self._intake, self._runs, *self._due_loops, self._keeper)
        for part in (*self._parts, self._eraser):
            task = asyncio.create_task(part.run_forever(), name=type(part).__name__)
            task.add_done_callback(_tell_of_end)
            self._stack.push_async_callback(_cancelled, task)
        await self._serve(board)

    def _traces(self) -> "Traces | None":
        if not self.settings.otlp_endpoint:
            return None
        try:
            from reallot.server.tracing import Traces
        except ModuleNotFoundError as error:
            raise ValueError(f"otlp_endpoint needs OpenTelemetry ({error}): pip install 'reallot[otel]'") from None
        traces = Traces(
            self.settings.otlp_endpoint,
            self.settings.trace_share,
            version=importlib.metadata.version("reallot"),
            address=lambda: f"{self.settings.host}:{self.port}",
        )
        self._stack.push_async_callback(traces.close)
        return traces

    def _join(self, db: Database, loop: asyncio.AbstractEventLoop) -> Replica:
        replica = Replica(db, f"{self.settings.host}:{self.settings.port}", lambda: _on_loop(loop, self._wake_all))
        self._stack.callback(replica.close)
        return replica

    def _wake_all(self) -> None:
        """Have everybody look for work: leases have changed hands."""
        for part in (*self._parts, self._eraser):
            part.wake.set()

    def _hear(self, signals: frozenset[Signal]) -> None:
        topics = {signal.topic for signal in signals}
        self.hub.hear(signals)
        if topics & {"pending", "config"}:
            self._intake.wake.set()
        if topics & {"runs", "config"}:
            self._runs.wake.set()
            self._runs.look_for_cancel()
        for loop in self._due_loops:
            if topics & {loop.TOPIC, "config"}:
                loop.wake.set()

    async def _serve(self, board: ProgressBoard) -> None:
        options = [
            ("grpc.max_receive_message_length", self.settings.largest_message_bytes),
            ("grpc.so_reuseport", 0),
        ]
        interceptors: list[Any] = [ErrorInterceptor(self.runtime.meters), self._guard(), self._door]
        if self.runtime.traces is not None:
            from reallot.server.tracing import TracingInterceptor

            interceptors.insert(0, TracingInterceptor(self.runtime.traces))
        self._server = server = grpc.aio.server(interceptors=interceptors, options=options)
        self._register(server, board)
        checks = self._checks
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        names = [*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME, CHANNELZ_NAME]
        if isinstance(self.clock, ManualClock):
            clock_service_pb2_grpc.add_ClockServiceServicer_to_server(ClockService(self.clock), server)
            names.append(clock_service_pb2.DESCRIPTOR.services_by_name["ClockService"].full_name)
        reflection.enable_server_reflection(names, server)
        channelz.add_channelz_servicer(server)
        self.port = listen(server, self.settings)
        await server.start()
        await self._tell_health(True)
        self._stack.push_async_callback(_cancelled, asyncio.create_task(self._readiness.run_forever()))
        self._open_metrics()
        self._stack.push_async_callback(self._stop_serving, server, checks)

    def _guard(self) -> Guard:
        authenticator = self._authenticator
        guard = Guard(authenticator, self.runtime.require)
        if authenticator is not None:
            self._stack.callback(authenticator.close)
            if authenticator.directory is not None:
                looking = asyncio.create_task(authenticator.directory.run_forever(guard.recheck))
                self._stack.push_async_callback(_cancelled, looking)
        return guard

    def _register(self, server: Any, board: ProgressBoard) -> None:
        runtime = self.runtime
        record_service_pb2_grpc.add_RecordServiceServicer_to_server(RecordService(runtime), server)
        seller_service_pb2_grpc.add_SellerServiceServicer_to_server(SellerService(runtime), server)
        config_service_pb2_grpc.add_ConfigServiceServicer_to_server(ConfigService(runtime), server)
        assignment_service_pb2_grpc.add_AssignmentServiceServicer_to_server(AssignmentService(runtime, board, self._questions), server)
        insight = InsightService(runtime, self._questions, self._status.answer)
        insight_service_pb2_grpc.add_InsightServiceServicer_to_server(insight, server)
        solver_service_pb2_grpc.add_SolverServiceServicer_to_server(SolverService(self.settings, self._desk), server)
        sequence_service_pb2_grpc.add_SequenceServiceServicer_to_server(SequenceService(runtime), server)
        event_service_pb2_grpc.add_EventServiceServicer_to_server(EventService(runtime, self.hub), server)
        workspace_service_pb2_grpc.add_WorkspaceServiceServicer_to_server(WorkspaceService(runtime, self._eraser), server)

    async def _tell_health(self, ready: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *SERVICE_NAMES):
            await self._checks.set(name, status)

    def _open_metrics(self) -> None:
        if self.settings.metrics_port is None:
            return
        # Only servers that are scraped need what answers.
        from reallot.server.metrics import MetricsPort

        port = MetricsPort(self._status, asyncio.get_running_loop(), self.settings.metrics_host, self.settings.metrics_port)
        self.metrics_port = port.port
        # It asks the event loop, which must go on meanwhile.
        self._stack.push_async_callback(asyncio.to_thread, port.close)

    async def _stop_serving(self, server: Any, checks: Any) -> None:
        await checks.enter_graceful_shutdown()
        self._door.close()
        # Whoever calls now is told why, before the connections are closed under calls that are on their way.
        await asyncio.sleep(min(self.settings.stop_grace_s, SEND_AWAY_S))
        stopping = asyncio.ensure_future(server.stop(self.settings.stop_grace_s))
        quiet = asyncio.ensure_future(self._door.quiet())
        await asyncio.wait((stopping, quiet), return_when=asyncio.FIRST_COMPLETED)
        quiet.cancel()
        # What is left are streams of health and the like, which have no end of their own.
        await server.stop(min(self.settings.stop_grace_s, LAST_ANSWERS_S))

    async def _busy(self) -> bool:
        now_us = self.clock.now_us()

        def read(tx: Any) -> bool:
            waiting = {*tx.pending.workspaces(), *tx.reruns.workspaces(), *tx.runs.workspaces()}
            waiting |= {workspace for loop in self._due_loops for workspace, due_us in loop.next_due(tx) if due_us <= now_us}
            return bool(self.runtime.configs.not_paused(tx, waiting))

        # The parts are asked first because that costs nothing, and again because one may have emptied the tables and be at its last commit.
        return self._at_work() or await self.runtime.read(read) or self._at_work()

    def _at_work(self) -> bool:
        return any(part.busy for part in self._parts)


def _on_loop(loop: asyncio.AbstractEventLoop, hear: Callable[..., None], *told: Any) -> None:
    """Hand word from a thread of storage to the loop; a loop that has closed needs none."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(hear, *told)


def _tell_of_end(task: asyncio.Task[None]) -> None:
    """Say loudly that a part of the server has ended by itself: none of them should."""
    if not task.cancelled():
        log.critical("a part of the server has ended", part=task.get_name(), exc_info=task.exception())


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
