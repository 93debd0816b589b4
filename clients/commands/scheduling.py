"""`reallot schedules`: when runs repeat, before and after a schedule is stored."""

from pathlib import Path
from typing import Annotated

import typer

from reallot.clients.bundle import BundleError, read_bundle
from reallot.clients.client import Client
from reallot.clients.terminal import DEFAULT_ADDRESS, INVALID, Address, AsJson, Workspace, connected, document, fail, out, say, short, table
from reallot.v1 import config_pb2, config_service_pb2, segment_pb2

schedules = typer.Typer(add_completion=False, help="Look when schedules fire.", no_args_is_help=True)
_RECURRENCES = {"cron": "cron", "days_and_times": "days and times", "every": "every"}


@schedules.command("list")
def list_schedules(address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False) -> None:
    """List schedules with their next firing."""
    with connected(address, workspace) as client:
        found = _stored(client)
    if as_json:
        for schedule in found:
            say(document(schedule))
        return
    rows = [(s.schedule_id, _state(s), _recurrence(s), s.time_zone or "UTC", _moment(s)) for s in found]
    table("", ("schedule", "state", "recurrence", "time zone", "next firing"), rows)


@schedules.command("next")
def next_firings(
    schedule_id: Annotated[str, typer.Argument(help="The schedule.")],
    file: Annotated[
        Path | None,
        typer.Option("-f", "--file", help="YAML file in which it stands; else the stored one.", exists=True, dir_okay=False),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=100, help="How many firings.")] = 5,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Show when a schedule fires next, in its time zone; with a file, before it is stored."""
    try:
        given = [resource.schedule for resource in read_bundle(file)[0] if resource.HasField("schedule")] if file is not None else None
    except BundleError as error:
        fail(error, INVALID)
    with connected(address, workspace) as client:
        known = given if given is not None else _stored(client)
        schedule = next((s for s in known if s.schedule_id == schedule_id), None)
        if schedule is None:
            names = ", ".join(s.schedule_id for s in known) or "none"
            fail(f"there is no schedule {schedule_id!r} {f'in {file}' if file else 'here'}; there are: {names}", INVALID)
        answer = client.stubs.config.PreviewSchedule(config_service_pb2.PreviewScheduleRequest(schedule=schedule, count=count))
    if as_json:
        say(document(answer))
        return
    for text in answer.local_firings:
        out.print(text, markup=False)


def _stored(client: Client) -> list[config_pb2.Schedule]:
    request = config_service_pb2.ListConfigRequest(kind=config_pb2.CONFIG_KIND_SCHEDULE)
    pages = client.inner.pages(client.inner.stubs.config.ListConfig, request, "resources")
    return [resource.schedule for resource in client.iterate(pages)]


def _state(schedule: config_pb2.Schedule) -> str:
    return short(segment_pb2.ResourceState.Name(schedule.state), "RESOURCE_STATE_") or "active"


def _recurrence(schedule: config_pb2.Schedule) -> str:
    kind = schedule.WhichOneof("recurrence") or ""
    return f"cron {schedule.cron}" if kind == "cron" else _RECURRENCES.get(kind, kind)


def _moment(schedule: config_pb2.Schedule) -> str:
    return f"{schedule.next_time.ToDatetime():%Y-%m-%d %H:%M} UTC" if schedule.HasField("next_time") else ""
