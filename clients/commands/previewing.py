"""`reallot resegment` and `reallot runs preview|apply|drop|undo`: what a run would do, doing it, and taking it back."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from reallot.clients.client import Client
from reallot.clients.commands.passes import exit_code, show, waited
from reallot.clients.terminal import (
    DEFAULT_ADDRESS,
    FAILED,
    Address,
    AsJson,
    Workspace,
    confirmed,
    connected,
    document,
    out,
    say,
    short,
    table,
)
from reallot.clients.values import owner_text
from reallot.v1 import assignment_service_pb2, event_pb2, record_pb2, run_pb2

MOST_DROPPED = 50
"""Dropped moves that are shown."""
Run = Annotated[str, typer.Argument(help="The run's id.")]
Rows = Annotated[int, typer.Option(help="Moves to list; 0 = all.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def resegment(
    record_type: Annotated[str, typer.Option("--type", help="Only records of this type.")] = "",
    segment: Annotated[list[str] | None, typer.Option(help="Only records of this segment; may come often.")] = None,
    where: Annotated[str, typer.Option("--filter", help="Only records for which this CEL condition holds; needs --type.")] = "",
    record: Annotated[list[str] | None, typer.Option(help="Only this record; may come often.")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Only say what it would do; `runs apply` or `runs drop` ends it.")] = False,
    yes: Yes = False,
    rows: Rows = 50,
    reason: Annotated[str, typer.Option(help="Why, for the history.")] = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Look again to which segment records belong, show every move and what they come to, and make the moves."""
    selection = run_pb2.RunSelection(
        record_type=record_type, segment_ids=segment or [], filter=where, record_ids=record or [], resegment=True
    )
    with connected(address, workspace) as client:
        run = waited(client, client.runs.start(selection, preview=True, cause=reason), None, as_json=as_json)
        if run.state != run_pb2.RUN_STATE_PREVIEWED:
            show(run, as_json=as_json)
            raise typer.Exit(exit_code(run))
        _show_preview(client, run.run_id, rows, as_json=as_json)
        if preview:
            if not as_json:
                out.print(f"Nothing is done yet: reallot runs apply {run.run_id}, or reallot runs drop {run.run_id}")
            return
        if not (yes or confirmed("Make these moves?")):
            client.runs.drop(run.run_id)
            raise typer.Exit(FAILED)
        _apply(client, run.run_id, as_json=as_json)


def preview(run_id: Run, rows: Rows = 50, address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False) -> None:
    """Show what a previewed run would do to records, segments, sellers and sequences."""
    with connected(address, workspace) as client:
        _show_preview(client, run_id, rows, as_json=as_json)


def apply(run_id: Run, address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False) -> None:
    """Have a previewed run do what it said; what has changed meanwhile is left alone."""
    with connected(address, workspace) as client:
        _apply(client, run_id, as_json=as_json)


def drop(run_id: Run, address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False) -> None:
    """Forget a previewed run."""
    with connected(address, workspace) as client:
        show(client.runs.drop(run_id), as_json=as_json)


def undo(
    run_id: Run,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be put back and what not.")] = False,
    force: Annotated[bool, typer.Option(help="Also above former owners' maxima, and to those who take no records at present.")] = False,
    reason: Annotated[str, typer.Option(help="Why, for the log.")] = "",
    yes: Yes = False,
    rows: Annotated[int, typer.Option(help="Records to list; 0 = the first 1,000.")] = 50,
    request_id: Annotated[str, typer.Option(help="Makes the command safe to repeat.")] = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Put back what a run moved and gave away, for records that nobody has touched since.

    Exit codes: 0 all records are as before, 1 some are left as they are, or it was not wanted.
    """
    with connected(address, workspace) as client:
        answer = client.runs.undo(run_id, validate_only=True, force=force)
        if not dry_run:
            if not (yes or as_json or confirmed(f"Put back {answer.undone:,} records? {answer.left:,} are left as they are.")):
                raise typer.Exit(FAILED)
            answer = client.runs.undo(run_id, force=force, reason=reason, request_id=request_id)
        if as_json:
            say(document(answer))
        else:
            _show_undone(answer, rows, would="would be " if dry_run else "")
        raise typer.Exit(FAILED if answer.left or answer.forgotten else 0)


def _apply(client: Client, run_id: str, *, as_json: bool) -> None:
    run = waited(client, client.runs.apply(run_id), None, as_json=as_json)
    show(run, as_json=as_json)
    if run.counts.lost and not as_json:
        dropped = client.runs.preview(run_id).moves
        out.print(f"  {run.counts.lost:,} of the moves are not valid any more and were not made:")
        table("Left alone", ("record", "why"), [(move.record_id, move.text) for move in dropped[:MOST_DROPPED]])
    raise typer.Exit(exit_code(run))


def _show_preview(client: Client, run_id: str, rows: int, *, as_json: bool) -> None:
    told = client.runs.preview(run_id)
    if as_json:
        say(document(told))
        return
    if not told.moves:
        out.print("No record would change.")
        return
    _show_moves(told.moves, rows)
    flows = [(flow.from_segment_id or "(none)", flow.to_segment_id or "(none)", flow.records) for flow in told.flows]
    if flows:
        table("Segments", ("from", "to", "records"), flows, numbers=("records",))
    if told.sellers:
        effects = [(s.seller_id, s.gained, s.lost, f"{s.load:+,}") for s in told.sellers]
        table("Sellers", ("seller", "gets", "loses", "load"), effects, numbers=("gets", "loses", "load"))
    if told.sequences_started or told.sequences_ended:
        out.print(f"Sequences: {told.sequences_started:,} begin, {told.sequences_ended:,} end.")


def _show_moves(moves: Sequence[assignment_service_pb2.PreviewedMove], rows: int) -> None:
    shown = moves[: rows or None]
    lines = [
        (m.record_id, *(f"{old} → {new}" if old != new else old for old, new in zip(_told(m.before), _told(m.after), strict=True)))
        for m in shown
    ]
    table("Records", ("record", "segment", "owner", "status", "sequence"), lines)
    if len(shown) < len(moves):
        out.print(f"… and {len(moves) - len(shown):,} more (--rows 0 lists all)")


def _told(state: event_pb2.RecordState) -> tuple[str, str, str, str]:
    status = short(record_pb2.AssignmentStatus.Name(state.assignment), "ASSIGNMENT_STATUS_")
    step = f"{state.enrollment.sequence_id} step {state.enrollment.step}" if state.enrollment.enrollment_id else "(none)"
    return state.segment_id or "(none)", owner_text(state.owner) or "(none)", status, step


def _show_undone(answer: Any, rows: int, *, would: str) -> None:
    if answer.moves:
        _show_moves(answer.moves, rows)
    if answer.left_records:
        lines = [(left.record_id, left.text) for left in answer.left_records[: rows or None]]
        table("Left as they are", ("record", "why"), lines)
    out.print(f"{answer.undone:,} records {would or 'are '}as before the run, {answer.left:,} {would}left as they are.")
    if answer.forgotten:
        out.print(f"{answer.forgotten:,} changes of the run are not in the log any more and stay.")
