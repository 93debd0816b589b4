"""A transaction: the repositories over one connection, and what its commit has to tell."""

from collections.abc import Collection, Mapping, Sequence, Set

from polars import DataFrame, col
from sqlalchemy import Connection

from reallot.storage import prepared
from reallot.storage.ages import AgeRepository
from reallot.storage.arrivals import Arrivals, ArrivalWriter, stored_columns
from reallot.storage.audit import AuditRepository, Note
from reallot.storage.bonds import BondRepository
from reallot.storage.capacity import LoadAccount, open_account
from reallot.storage.configuration import ConfigRepository, ScheduleRepository
from reallot.storage.contract import Signal
from reallot.storage.documents import load
from reallot.storage.entities import Limits, Outcome, Record, Transition
from reallot.storage.erasures import ErasureRepository
from reallot.storage.events import EventRepository
from reallot.storage.inputs import InputRepository
from reallot.storage.moves import Move
from reallot.storage.numbering import EventBuffer, draw
from reallot.storage.offers import OfferRepository
from reallot.storage.pending import PendingRepository, RerunRepository
from reallot.storage.personal import PersonalRepository
from reallot.storage.prepared import PreparedMoves
from reallot.storage.previews import PreviewRepository
from reallot.storage.quiet import QuietRepository
from reallot.storage.rechecks import RecheckRepository
from reallot.storage.records import RecordRepository
from reallot.storage.references import ReferenceRepository, Related
from reallot.storage.related import RelatedRepository
from reallot.storage.reports import ReportRepository
from reallot.storage.runs import DecisionRepository, EnrollmentRepository, RequestRepository, RunRepository
from reallot.storage.sellers import SellerRepository
from reallot.storage.shares import ShareRepository
from reallot.storage.shown import shown_records
from reallot.storage.steps import StepRepository
from reallot.storage.tries import TryRepository
from reallot.storage.workspaces import WorkspaceRepository


class ReadTransaction:
    """One consistent snapshot. Belongs to one thread."""

    def __init__(self, connection: Connection, buffer: EventBuffer | None = None) -> None:
        self.connection = connection
        self.audit = AuditRepository(connection)
        self.config = ConfigRepository(connection, self.audit)
        self.schedules = ScheduleRepository(connection)
        self.sellers = SellerRepository(connection, self.audit)
        self.shares = ShareRepository(connection)
        self.pending = PendingRepository(connection)
        self.reruns = RerunRepository(connection)
        self.related = RelatedRepository(connection)
        self.references = ReferenceRepository(connection)
        self.bonds = BondRepository(connection)
        self.previews = PreviewRepository(connection)
        self.quiet = QuietRepository(connection)
        self.rechecks = RecheckRepository(connection)
        self.tries = TryRepository(connection)
        self.steps = StepRepository(connection)
        self.offers = OfferRepository(connection)
        self.personal = PersonalRepository(connection)
        self.erasures = ErasureRepository(connection)
        self.workspaces = WorkspaceRepository(connection)
        self.records = RecordRepository(connection, buffer or EventBuffer(), self.pending, self.sellers, self.steps)
        self.runs = RunRepository(connection, self.audit)
        self.inputs = InputRepository(connection)
        self.decisions = DecisionRepository(connection)
        self.enrollments = EnrollmentRepository(connection)
        self.requests = RequestRepository(connection)
        self.reports = ReportRepository(connection)
        self.ages = AgeRepository(connection)
        self.events = EventRepository(connection, buffer)

    def shown_records(self, workspace: str, record_ids: Sequence[str]) -> tuple[int, dict[str, tuple[Record, bool]]]:
        """Return records as single reads show them (see `storage.shown`)."""
        return shown_records(self.connection, workspace, record_ids)

    def loads_of(self, workspace: str, sellers: Collection[str]) -> LoadAccount:
        """Return what sellers carry, to try out what more they could take; nothing is stored."""
        return open_account(self.connection, workspace, sellers)

    def stored_columns(self, workspace: str, record_ids: Sequence[str]) -> DataFrame:
        """Return what callers have written of the records that exist, as columns (see `storage.arrivals`)."""
        return stored_columns(self.connection, workspace, record_ids)


class WriteTransaction(ReadTransaction):
    """A unit of work: all of it is committed or nothing. Belongs to the writer thread."""

    def __init__(self, connection: Connection, now_us: int) -> None:
        self.buffer = EventBuffer()
        super().__init__(connection, self.buffer)
        self.now_us = now_us
        self.signals: set[Signal] = set()

    def signal(self, workspace: str, topic: str) -> None:
        """Have a topic of the workspace announced once this is committed."""
        self.signals.add(Signal(workspace, topic))

    def commit_records(self, workspace: str, transitions: Sequence[Transition]) -> list[Outcome]:
        """Carry out transitions (see `RecordRepository.commit`) and announce what they change."""
        outcomes = self.records.commit(workspace, transitions, self.now_us)
        self._announce_timers(workspace)
        made = [t for t, outcome in zip(transitions, outcomes, strict=True) if outcome is Outcome.COMMITTED]
        self.references.keep(workspace, [_related(t) for t in made])
        if self.audit.is_noting:
            self.audit.note(workspace, [_noted(t) for t in made])
        if any(t.event is not None for t in transitions):
            self.signal(workspace, "events")
        if any(t.mark is not None for t in transitions):
            self.signal(workspace, "pending")
        if any(t.offer_start is not None for t in transitions):
            self.signal(workspace, "offers")
        self._signal_steps(workspace)
        return outcomes

    def create_records(self, workspace: str, arrivals: Arrivals) -> list[int]:
        """Store new records (see `ArrivalWriter.store`), announce them, and return their versions."""
        writer = ArrivalWriter(self.connection, self.buffer, self.pending, self.sellers, self.records)
        self.records.forget_read(deleted=False)
        versions = writer.store(workspace, arrivals, self.now_us)
        self._announce_timers(workspace)
        referring = arrivals.frame.filter(col("related") != "{}").select("record_id", "related").rows()
        self.references.keep(workspace, [Related(record_id, {}, load(related)) for record_id, related in referring])
        self.signal(workspace, "events")
        if arrivals.frame["active"].any():
            self.signal(workspace, "pending")
        return versions

    def draw_turns(self, workspace: str, count: int) -> int:
        """Draw the numbers of as many turns, and return the first; 0 for none."""
        return draw(self.connection, workspace, "turn_number", count) if count else 0

    def commit_prepared(self, workspace: str, moves: PreparedMoves, limits: Mapping[str, Limits], first_turn: int) -> bool:
        """Carry out prepared moves (see `storage.prepared.carry_out`), all or none; return whether they were."""
        self.records.forget_read()
        made = prepared.carry_out(self.connection, workspace, moves, limits, self.now_us, first_turn, self.buffer, self.sellers)
        if made:
            self.steps.ask(workspace, moves.looks, self.now_us)
            self._signal_steps(workspace)
        self._announce_timers(workspace)
        if made and moves.events:
            self.signal(workspace, "events")
        return made

    def commit_moves(
        self, workspace: str, moves: Sequence[Move], limits: Mapping[str, Limits], first_turn: int, untold: Set[str] = frozenset()
    ) -> list[Outcome]:
        """Carry out moves that were written up before (see `RecordRepository.commit_moves`)."""
        if any(move.pattern.event is not None for move in moves):
            self.signal(workspace, "events")
        if any(move.pattern.offer is not None for move in moves):
            self.signal(workspace, "offers")
        outcomes = self.records.commit_moves(workspace, moves, limits, self.now_us, first_turn, untold)
        self._announce_timers(workspace)
        self._signal_steps(workspace)
        return outcomes

    def _announce_timers(self, workspace: str) -> None:
        if self.sellers.windows.timers_set:
            self.signal(workspace, "timers")

    def _signal_steps(self, workspace: str) -> None:
        if workspace in self.steps.asked:
            self.signal(workspace, "steps")


def _noted(transition: Transition) -> Note:
    """Return what a transition comes to for people, as the record's event or else its log tells it."""
    subject, told = transition.subject, transition.event or transition.decision
    states = (told.before, told.after) if told is not None else (None, None)
    before, after = (None if state == "null" else state for state in states)
    return "record", subject.record_id, before, after


def _related(transition: Transition) -> Related:
    before, after = transition.before, transition.after
    return Related(transition.subject.record_id, before.related if before else {}, after.related if after else {})
