"""`reallot schedules`: when schedules fire, before they are stored and after; pausing them, and carrying one out now."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from google.protobuf import timestamp_pb2
from google.type import dayofweek_pb2

from reallot.clients.bundle import read_bundle
from reallot.clients.client import Client
from reallot.clients.commands.passes import exit_code, show, started, waited
from reallot.clients.commands.stored import Actor, set_state, stored
from reallot.clients.terminal import (
    DEFAULT_ADDRESS,
    INVALID,
    Address,
    AsJson,
    Workspace,
    connected,
    document,
    fail,
    out,
    say,
    short,
    table,
)
from reallot.clients.values import moment
from reallot.v1 import assignment_service_pb2, config_pb2, config_service_pb2, run_pb2, segment_pb2

schedules = typer.Typer(
    add_completion=False, help="Look at schedules and when they fire, pause them, carry one out now.", no_args_is_help=True
)
_KIND = config_pb2.CONFIG_KIND_SCHEDULE
_SHOWN = "%a %Y-%m-%d %H:%M %Z"


@schedules.command("list")
def list_schedules(address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False) -> None:
    """List schedules: what they are, when they fire next, and what their last run came to."""
    with connected(address, workspace) as client:
        pages = client.inner.pages(client.inner.stubs.config.ListConfig, config_service_pb2.ListConfigRequest(kind=_KIND), "resources")
        found = [resource.schedule for resource in client.iterate(pages)]
        if as_json:
            for schedule in found:
                say(document(schedule))
            return
        rows = [
            (
                s.schedule_id,
                _state(s),
                _fires(s),
                _when(s, s.next_time) if s.HasField("next_time") else "",
                _when(s, s.last_time) if s.HasField("last_time") else "",
                _last_run(client, s),
            )
            for s in found
        ]
    table("", ("schedule", "state", "fires", "next", "last", "last run"), rows)


def _state(schedule: config_pb2.Schedule) -> str:
    return short(segment_pb2.ResourceState.Name(schedule.state), "RESOURCE_STATE_") or "active"


def _fires(schedule: config_pb2.Schedule) -> str:
    """Return in few words when a schedule fires."""
    zone = schedule.time_zone or "UTC"
    match schedule.WhichOneof("recurrence"):
        case "cron":
            return f"{schedule.cron} {zone}"
        case "every":
            return f"every {schedule.every.duration.ToTimedelta()}"
    days = ", ".join(dayofweek_pb2.DayOfWeek.Name(day).capitalize()[:3] for day in schedule.days_and_times.days) or "daily"
    times = ", ".join(f"{time.hours:02d}:{time.minutes:02d}" for time in schedule.days_and_times.times)
    return f"{days} {times} {zone}"


def _when(schedule: config_pb2.Schedule, instant: timestamp_pb2.Timestamp) -> str:
    return f"{moment(instant).astimezone(_zone(schedule.time_zone)):{_SHOWN}}"


def _last_run(client: Client, schedule: config_pb2.Schedule) -> str:
    request = assignment_service_pb2.ListRunsRequest(schedule_id=schedule.schedule_id, page_size=1)
    for run in client.stubs.assignment.ListRuns(request).runs:
        state = short(run_pb2.RunState.Name(run.state), "RUN_STATE_")
        return f"{state}: {run.counts.assigned:,} of {run.counts.considered:,} assigned"
    return ""


@schedules.command("preview")
def preview(
    schedule: Annotated[str, typer.Argument(help="A stored schedule; with --file one of the file, none = all of the file.")] = "",
    file: Annotated[Path | None, typer.Option("-f", "--file", help="A configuration file, before it is applied.", exists=True)] = None,
    count: Annotated[int, typer.Option(min=1, max=100, help="Firings to show.")] = 10,
    zone: Annotated[str, typer.Option(help="Time zone to show them in, too, e.g. Europe/Berlin. Default: only the schedule's.")] = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Show the next firings of a schedule, with what clock changes do to them; nothing is stored."""
    own_zone = _zone(zone) if zone else None
    with connected(address, workspace) as client:
        for chosen in _chosen(client, schedule, file):
            answer = client.stubs.config.PreviewSchedule(config_service_pb2.PreviewScheduleRequest(schedule=chosen, count=count))
            if as_json:
                say({"schedule_id": chosen.schedule_id, **document(answer)})
                continue
            columns = (f"in {chosen.time_zone or 'UTC'}", *([f"in {zone}"] if own_zone else []), "UTC", "clocks")
            table(f"{chosen.schedule_id}: {_fires(chosen)}", columns, _firings(answer, _zone(chosen.time_zone), own_zone))
            if not answer.firings:
                out.print("It never fires.")


def _chosen(client: Client, name: str, file: Path | None) -> Sequence[config_pb2.Schedule]:
    """Return the schedules that are meant."""
    if file is None:
        if not name:
            fail("name a stored schedule, or a file with --file", INVALID)
        return [stored(client, _KIND, name).schedule]
    resources, _ = read_bundle(file)
    found = [r.schedule for r in resources if r.WhichOneof("resource") == "schedule" and name in ("", r.schedule.schedule_id)]
    if not found:
        fail(f"{file} holds no schedule{f' {name!r}' if name else ''}", INVALID)
    return found


def _firings(answer: config_service_pb2.PreviewScheduleResponse, place: ZoneInfo, own: ZoneInfo | None) -> list[tuple[str, ...]]:
    """Return a row for each firing; where clocks have changed since the one before, it says how."""
    rows: list[tuple[str, ...]] = []
    before: datetime | None = None
    for instant, local in zip(answer.firings, answer.local_firings, strict=True):
        at = moment(instant).astimezone(place)
        changed = before is not None and before.utcoffset() != at.utcoffset()
        note = f"{before:%Z} (UTC{_offset(before)}) to {at:%Z} (UTC{_offset(at)})" if changed and before is not None else ""
        rows.append((local, *([f"{at.astimezone(own):{_SHOWN}}"] if own else []), f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}", note))
        before = at
    return rows


def _offset(at: datetime) -> str:
    text = f"{at:%z}"
    return f"{text[:3]}:{text[3:5]}"


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        fail(f"{name!r} is no time zone", INVALID)


@schedules.command("pause")
def pause(schedule: str, actor: Actor = "", address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False) -> None:
    """Keep a schedule without its firing."""
    set_state(_KIND, schedule, segment_pb2.RESOURCE_STATE_PAUSED, actor, address, workspace, as_json=as_json)


@schedules.command("resume")
def resume(
    schedule: str, actor: Actor = "", address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False
) -> None:
    """Have a paused schedule fire again, from its next firing on."""
    set_state(_KIND, schedule, segment_pb2.RESOURCE_STATE_ACTIVE, actor, address, workspace, as_json=as_json)


@schedules.command("run")
def run_now(
    schedule: str,
    wait: Annotated[bool, typer.Option(help="Wait until it has ended.")] = True,
    request_id: Annotated[str, typer.Option(help="Makes the command safe to repeat: the same id starts no second run.")] = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Carry out once now what a schedule does, paused or not; its firings stay as they are. Exit codes are those of `rerun`."""
    with connected(address, workspace) as client:
        found = stored(client, _KIND, schedule).schedule
        run = started(client, None, selection=found.selection, limit=found.limit, request_id=request_id)
        if wait:
            run = waited(client, run, None, as_json=as_json)
        show(run, as_json=as_json)
        if wait:
            raise typer.Exit(exit_code(run))
