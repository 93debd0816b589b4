"""The loop that turns due schedules into runs. A firing becomes one run, whoever looks and however often."""

from dataclasses import replace

import structlog
from google.type import timeofday_pb2

from reallot.server.clock import MICROSECONDS
from reallot.server.convert.values import to_us
from reallot.server.due import DueLoop
from reallot.server.firings import Cron, DaysAndTimes, Every, Recurrence, RecurrenceError, firings, next_firing
from reallot.server.lanes import new_run_id, selection_text
from reallot.server.workspace_config import WorkspaceConfig, is_active
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.entities import Run, ScheduleState
from reallot.v1 import config_pb2

log = structlog.get_logger("reallot.schedules")

LATE_US = 60 * MICROSECONDS
"""A firing that is noticed later than this counts as missed."""
DEFAULT_MISSED_WITHIN_US = 7 * 86_400 * MICROSECONDS


def recurrence_of(schedule: config_pb2.Schedule) -> Recurrence:
    """Return when a schedule fires.

    Raises:
        RecurrenceError: it can never fire or cannot be read; the text names the field.
    """
    match schedule.WhichOneof("recurrence"):
        case "cron":
            rule: Cron | DaysAndTimes | Every = Cron(schedule.cron)
        case "days_and_times":
            value = schedule.days_and_times
            rule = DaysAndTimes(tuple(d - 1 for d in value.days), tuple(_minute_of_day(t) for t in value.times))
        case "every":
            if schedule.every.duration.nanos:
                raise RecurrenceError("every: the distance must be whole seconds")
            rule = Every(schedule.every.duration.ToSeconds(), to_us(schedule.every.anchor))
        case _:
            raise RecurrenceError("cron: a recurrence is needed (cron, days_and_times or every)")
    return Recurrence(
        rule,
        schedule.time_zone or "UTC",
        to_us(schedule.start_time) if schedule.HasField("start_time") else None,
        to_us(schedule.end_time) if schedule.HasField("end_time") else None,
        schedule.jitter.ToSeconds(),
        schedule.schedule_id,
    )


def _minute_of_day(time: timeofday_pb2.TimeOfDay) -> int:
    if not (0 <= time.hours < 24 and 0 <= time.minutes < 60) or time.seconds or time.nanos:
        said = f"{time.hours:02d}:{time.minutes:02d}:{time.seconds:02d}"
        raise RecurrenceError(f"times: {said} is no whole minute between 00:00 and 23:59")
    minute: int = time.hours * 60 + time.minutes
    return minute


def state_of(schedule: config_pb2.Schedule, stored: ScheduleState | None, now_us: int) -> ScheduleState:
    """Return when a schedule that was saved now fires next."""
    following = next_firing(recurrence_of(schedule), now_us) if is_active(schedule.state) else None
    return ScheduleState(schedule.schedule_id, following, stored.last_us if stored else None)


class ScheduleLoop(DueLoop):
    """Fires what is due."""

    TOPIC = "config"

    @staticmethod
    def next_due(tx: ReadTransaction) -> list[tuple[str, int]]:
        """Return when the first schedule of each workspace fires."""
        first: dict[str, int] = {}
        for workspace, state in tx.schedules.next_due():
            if state.next_us is not None:
                first.setdefault(workspace, state.next_us)
        return list(first.items())

    @staticmethod
    def carry_out(tx: WriteTransaction, config: WorkspaceConfig) -> bool:
        """Fire everything that is due. A schedule that can no longer be read fires again when it has been saved."""
        states = tx.schedules.all(config.workspace)
        for state in (states[schedule_id] for schedule_id in sorted(states)):
            if state.next_us is None or state.next_us > tx.now_us:
                continue
            try:
                fire(tx, config, state.schedule_id, tx.now_us)
            except RecurrenceError as error:
                log.error("a schedule cannot be read", workspace=config.workspace, schedule=state.schedule_id, error=str(error))
                tx.schedules.put(config.workspace, replace(state, next_us=None))
        return False


def fire(tx: WriteTransaction, config: WorkspaceConfig, schedule_id: str, now_us: int) -> None:
    """Insert the run of a due schedule and note its next firing, in one transaction."""
    state = tx.schedules.all(config.workspace).get(schedule_id)
    schedule: config_pb2.Schedule | None = config.find("schedule", schedule_id)
    if state is None or state.next_us is None or state.next_us > now_us:
        return
    if schedule is None or not is_active(schedule.state):
        tx.schedules.put(config.workspace, ScheduleState(schedule_id, None, state.last_us))
        return
    recurrence = recurrence_of(schedule)
    made_up_us = max(_made_up_within(schedule), LATE_US)
    latest, following = state.next_us, None
    # Firings too long ago to be made up for are passed over: after a year there may be very many.
    for instant in firings(recurrence, max(state.next_us + 1, now_us - made_up_us)):
        if instant > now_us:
            following = instant
            break
        latest = instant
    tx.schedules.put(config.workspace, ScheduleState(schedule_id, following, latest))
    late_us = now_us - latest
    if late_us > LATE_US:
        log.warning("firings were missed", schedule=schedule_id, made_up_for=late_us <= made_up_us, late_s=late_us // MICROSECONDS)
    if late_us <= made_up_us and _may_overlap(tx, config, schedule):
        tx.runs.create(config.workspace, _run_of(schedule, latest, tx.now_us))
        tx.signal(config.workspace, "runs")


def _made_up_within(schedule: config_pb2.Schedule) -> int:
    """Return how late a missed firing may still be made up for, in microseconds."""
    if schedule.missed == config_pb2.MISSED_POLICY_NONE:
        return 0
    return schedule.missed_within.ToMicroseconds() if schedule.HasField("missed_within") else DEFAULT_MISSED_WITHIN_US


def _may_overlap(tx: WriteTransaction, config: WorkspaceConfig, schedule: config_pb2.Schedule) -> bool:
    others = [run for run in tx.runs.unfinished(config.workspace) if run.schedule_id == schedule.schedule_id]
    if not others:
        return True
    if schedule.overlap == config_pb2.OVERLAP_POLICY_QUEUE_ONE:
        return not any(run.state == "PENDING" for run in others)
    if schedule.overlap == config_pb2.OVERLAP_POLICY_CANCEL_OTHER:
        for run in others:
            tx.runs.request_cancel(config.workspace, run.run_id)
        return True
    log.warning("a firing was left out: the last run still works", schedule=schedule.schedule_id)
    return False


def _run_of(schedule: config_pb2.Schedule, firing_us: int, now_us: int) -> Run:
    return Run(
        new_run_id(),
        "SCHEDULED",
        "PENDING",
        {"kind": "SCHEDULE", "schedule_id": schedule.schedule_id, "resegment": schedule.selection.resegment},
        selection_text(schedule.selection),
        create_us=now_us,
        schedule_id=schedule.schedule_id,
        firing_us=firing_us,
        limit=schedule.limit,
    )
