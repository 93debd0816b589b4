"""What previewed runs would do, and their end: what AssignmentService answers about them, in units of work of its own."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from reallot.server.convert.decisions import state_message
from reallot.server.convert.runs import run_message
from reallot.server.errors import failed_precondition
from reallot.server.lanes import ENDED
from reallot.server.languages import Catalogue
from reallot.server.languages.saying import say
from reallot.server.previewing import APPLY, mode_of, to_be_applied
from reallot.server.tokens import page_token, read_page_token
from reallot.server.validation import page_size_of
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.documents import load
from reallot.storage.entities import Run
from reallot.storage.previews import Preview
from reallot.v1 import assignment_service_pb2 as pb
from reallot.v1 import config_service_pb2, run_pb2

_DROPPED = {
    "DELETED": say("dropped_deleted"),
    "CLOSED": say("dropped_closed"),
    "OWNER_CHANGED": say("dropped_owner_changed"),
    "CHANGED": say("dropped_changed"),
    "OTHER_SEGMENT": say("dropped_other_segment"),
    "TAKER_GONE": say("dropped_taker_gone"),
    "TAKER_SWITCHED_OFF": say("dropped_taker_switched_off"),
    "NO_CAPACITY": say("dropped_no_capacity"),
    "NOT_ELIGIBLE": say("dropped_not_eligible"),
    "STOPPED": say("dropped_stopped"),
}
"""Why a move was dropped, by the name of its reason."""
PART = 5_000
"""Lines that are read at once to add them up."""


def _preview(tx: ReadTransaction, workspace: str, run_id: str) -> Run:
    """Return a run that waits to be applied or dropped.

    Raises:
        ApiError: it is none.
    """
    run = tx.runs.get(workspace, run_id)
    if run.state != "PREVIEWED":
        text = f"run {run.run_id} is no preview that waits to be applied: {run.state}"
        raise failed_precondition("RUN_NOT_PREVIEWED", text, run=run.run_id, state=run.state)
    return run


def apply_run(tx: WriteTransaction, workspace: str, run_id: str, speech: Catalogue) -> run_pb2.Run:
    """Have a previewed run do what it said."""
    run = to_be_applied(_preview(tx, workspace, run_id))
    tx.runs.update(workspace, run)
    tx.signal(workspace, "runs")
    return run_message(run, speech)


def drop_run(tx: WriteTransaction, workspace: str, run_id: str, speech: Catalogue) -> run_pb2.Run:
    """Forget a previewed run."""
    run = replace(_preview(tx, workspace, run_id), state="DROPPED", stage="done", end_us=tx.now_us)
    tx.previews.clear(workspace, run_id)
    tx.runs.update(workspace, run)
    tx.signal(workspace, "runs")
    return run_message(run, speech)


def list_preview(tx: ReadTransaction, workspace: str, request: pb.ListPreviewRequest, speech: Catalogue) -> pb.ListPreviewResponse:
    """Return a page of what a run would do, with what all of it comes to on the first; of one that was applied, what was dropped."""
    run = tx.runs.get(workspace, request.run_id)
    applied = mode_of(run) == APPLY and run.state in ENDED
    if not applied:
        _preview(tx, workspace, request.run_id)
    size, after = page_size_of(request), read_page_token(request)
    rows = tx.previews.page(workspace, request.run_id, after[0] if after else "", size + 1)
    token = page_token(request, [rows[size - 1].record_id]) if len(rows) > size else ""
    answer = pb.ListPreviewResponse(moves=[_move(row, speech) for row in rows[:size]], next_page_token=token)
    if not after and not applied:
        _add_up(answer, _all(tx, workspace, request.run_id))
    return answer


def _move(row: Preview, speech: Catalogue) -> pb.PreviewedMove:
    return pb.PreviewedMove(
        record_id=row.record_id,
        before=state_message(load(row.before)),
        after=state_message(load(row.after)),
        dropped=pb.DropReason.Value(f"DROP_REASON_{row.dropped or 'UNSPECIFIED'}"),
        text=speech.text(_DROPPED[row.dropped]) if row.dropped else "",
    )


def _all(tx: ReadTransaction, workspace: str, run_id: str) -> Iterator[Preview]:
    after = ""
    while rows := tx.previews.page(workspace, run_id, after, PART):
        yield from rows
        after = rows[-1].record_id


def _add_up(answer: pb.ListPreviewResponse, rows: Iterator[Preview]) -> None:
    flows: Counter[tuple[str, str]] = Counter()
    gained: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    load_by: Counter[str] = Counter()
    for row in rows:
        before, after = load(row.before), load(row.after)
        if (old := before.get("segment_id", "")) != (new := after.get("segment_id", "")):
            flows[old, new] += 1
        old, new = _seller(before), _seller(after)
        if old != new:
            lost[old] += 1
            gained[new] += 1
            load_by[old] -= row.effort
            load_by[new] += row.effort
        old, new = _enrollment(before), _enrollment(after)
        answer.sequences_ended += bool(old) and old != new
        answer.sequences_started += bool(new) and old != new
    answer.flows.extend(
        config_service_pb2.SegmentFlow(from_segment_id=a, to_segment_id=b, records=n) for (a, b), n in sorted(flows.items())
    )
    sellers = sorted({*gained, *lost} - {""})
    answer.sellers.extend(pb.SellerEffect(seller_id=s, gained=gained[s], lost=lost[s], load=load_by[s]) for s in sellers)


def _seller(state: dict[str, Any]) -> str:
    return str(state.get("owner", {}).get("seller_id", ""))


def _enrollment(state: dict[str, Any]) -> str:
    return str(state.get("enrollment", {}).get("enrollment_id", ""))
