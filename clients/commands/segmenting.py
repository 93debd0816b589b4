"""`reallot segments`: looking at segments, trying them, copying them, taking them out of use and back, deleting them."""

from pathlib import Path
from typing import Annotated

import typer

from reallot.clients.bundle import BundleError, read_bundle
from reallot.clients.commands.comparing import show_changes
from reallot.clients.commands.stored import Actor, set_state, stored
from reallot.clients.errors import Conflict
from reallot.clients.terminal import (
    CONFLICT,
    DEFAULT_ADDRESS,
    FAILED,
    INVALID,
    Address,
    AsJson,
    Workspace,
    confirmed,
    connected,
    document,
    fail,
    out,
    say,
    short,
    table,
)
from reallot.v1 import config_pb2, config_service_pb2, segment_pb2

segments = typer.Typer(
    add_completion=False, help="Look at segments, try, copy and delete them, take them out of use.", no_args_is_help=True
)
_KIND = config_pb2.CONFIG_KIND_SEGMENT


@segments.command("list")
def list_segments(
    record_type: Annotated[str, typer.Option("--type", help="Only of this record type.")] = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """List segments in the order in which they are looked at, those out of use last."""
    with connected(address, workspace) as client:
        request = config_service_pb2.ListConfigRequest(kind=_KIND)
        pages = client.inner.pages(client.inner.stubs.config.ListConfig, request, "resources")
        found = [r.segment for r in client.iterate(pages) if record_type in ("", r.segment.record_type)]
        found.sort(key=lambda s: (s.record_type, _state(s) != "active", s.is_default, s.priority, s.segment_id))
        if as_json:
            for segment in found:
                say(document(segment))
            return
        rows = [
            (s.segment_id, s.record_type, _state(s), "last" if s.is_default else s.priority, len(s.rules), s.sequence_id, s.condition)
            for s in found
        ]
        table("", ("segment", "type", "state", "priority", "rules", "sequence", "condition"), rows, numbers=("priority", "rules"))


@segments.command("simulate")
def simulate(
    segment_id: Annotated[str, typer.Argument(help="The segment.")],
    file: Annotated[Path, typer.Option("-f", "--file", help="YAML file in which it stands.", exists=True, dir_okay=False)],
    sample: Annotated[int, typer.Option("--sample", min=0, max=100, help="How many matching records to name.")] = 10,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Show which records a segment would match, and which would move, if it were stored; nothing is written."""
    try:
        known = [resource.segment for resource in read_bundle(file)[0] if resource.HasField("segment")]
    except BundleError as error:
        fail(error, INVALID)
    segment = next((s for s in known if s.segment_id == segment_id), None)
    if segment is None:
        fail(f"there is no segment {segment_id!r} in {file}; there are: {', '.join(s.segment_id for s in known) or 'none'}", INVALID)
    with connected(address, workspace) as client:
        request = config_service_pb2.SimulateSegmentRequest(segment=segment, sample_size=sample)
        found = client.stubs.config.SimulateSegment(request)
    if as_json:
        say(document(found))
        return
    out.print(f"{found.matching:,} of {found.considered:,} active records match", markup=False)
    rows = [(flow.from_segment_id or "none", flow.to_segment_id or "none", flow.records) for flow in found.flows]
    table("Who would move", ("from", "to", "records"), rows, numbers=("records",))
    if found.sample:
        out.print("such as " + ", ".join(record.record_id for record in found.sample), markup=False)


def _state(segment: segment_pb2.Segment) -> str:
    return short(segment_pb2.ResourceState.Name(segment.state), "RESOURCE_STATE_") or "active"


@segments.command("copy")
def copy(
    segment: Annotated[str, typer.Argument(help="The segment to copy.")],
    new_id: Annotated[str, typer.Argument(help="Id of the copy; its rules are NEW_ID/RULE.")],
    name: Annotated[str, typer.Option(help="Name of the copy for people. Default: Copy of …")] = "",
    priority: Annotated[int, typer.Option(help="Priority of the copy. Default: as the original, for as long as it is not active.")] = 0,
    condition: Annotated[str, typer.Option(help="Condition of the copy; needed for a copy of the default segment.")] = "",
    activate: Annotated[bool, typer.Option("--activate", help="Have the copy take part at once.")] = False,
    actor: Actor = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Copy a segment with its rules; the copy takes part once it is activated."""
    with connected(address, workspace) as client:
        made = stored(client, _KIND, segment)
        original = made.segment
        if original.is_default and not condition:
            fail(f"{segment} is the default segment: its copy needs a --condition", INVALID)
        original.display_name = name or f"Copy of {original.display_name or segment}"
        original.segment_id, original.is_default = new_id, False
        original.condition, original.priority = condition or original.condition, priority or original.priority or 1
        original.state = segment_pb2.RESOURCE_STATE_ACTIVE if activate else segment_pb2.RESOURCE_STATE_INACTIVE
        # There is nothing of this id yet.
        made.etag = "0"
        try:
            answer = client.config.apply([made], actor=actor)
        except Conflict:
            fail(f"segment {new_id!r} exists already", CONFLICT)
        show_changes(answer.changes, as_json=as_json)


@segments.command("pause")
def pause(segment: str, actor: Actor = "", address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False) -> None:
    """Have a segment decide nothing for now; its records stay in it."""
    set_state(_KIND, segment, segment_pb2.RESOURCE_STATE_PAUSED, actor, address, workspace, as_json=as_json)


@segments.command("deactivate")
def deactivate(
    segment: str, actor: Actor = "", address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False
) -> None:
    """Keep a segment for the record only; its records stay in it."""
    set_state(_KIND, segment, segment_pb2.RESOURCE_STATE_INACTIVE, actor, address, workspace, as_json=as_json)


@segments.command("activate")
def activate_segment(
    segment: str, actor: Actor = "", address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False
) -> None:
    """Have a segment take part; it is checked anew."""
    set_state(_KIND, segment, segment_pb2.RESOURCE_STATE_ACTIVE, actor, address, workspace, as_json=as_json)


@segments.command("delete")
def delete(
    segment: str,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what changes.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    actor: Actor = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Delete a segment: its rules go to the default segment of its type, its records stay where they are until they are looked at again."""
    with connected(address, workspace) as client:
        request = config_service_pb2.DeleteConfigRequest(kind=_KIND, id=segment, actor=actor, validate_only=True)
        answer = client.stubs.config.DeleteConfig(request)
        if as_json:
            say(document(answer))
        else:
            show_changes(answer.changes, as_json=False)
            if answer.records_left:
                out.print(f"{answer.records_left:,} active records stay until they are looked at again; `reallot resegment` does that.")
        if dry_run:
            return
        if not (yes or confirmed("Delete it?")):
            raise typer.Exit(FAILED)
        client.stubs.config.DeleteConfig(config_service_pb2.DeleteConfigRequest(kind=_KIND, id=segment, actor=actor))
        if not as_json:
            out.print(f"{segment} is deleted.")
