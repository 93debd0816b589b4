"""A run on the screen: its progress, what it came to, and the exit code that says so."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from reallot.clients.client import Client
from reallot.clients.errors import Unavailable
from reallot.clients.terminal import AWAITS_APPROVAL, CANCELLED, FAILED, TIMED_OUT, document, err, lasting, out, say, short
from reallot.clients.values import moment
from reallot.v1 import record_pb2, run_pb2


def exit_code(run: run_pb2.Run) -> int:
    """Return the exit code of a command that waited for a run which was to do something."""
    codes = {
        run_pb2.RUN_STATE_SUCCEEDED: 0,
        run_pb2.RUN_STATE_CANCELLED: CANCELLED,
        run_pb2.RUN_STATE_DROPPED: CANCELLED,
        run_pb2.RUN_STATE_FAILED: FAILED,
        # It is too large to be done unasked, and waits to be applied.
        run_pb2.RUN_STATE_PREVIEWED: AWAITS_APPROVAL,
    }
    return codes.get(run.state, TIMED_OUT)


def started(client: Client, limit_s: float | None, **request: Any) -> run_pb2.Run:
    """Start a run, asking again while the server is away, for as long as time is left; the same request starts no second run.

    Raises:
        Unavailable: the server was away until the end.
    """
    request["request_id"] = request.get("request_id") or str(uuid.uuid4())
    until = time.monotonic() + (limit_s or 0)
    while True:
        try:
            run: run_pb2.Run = client.runs.start(**request)
        except Unavailable:
            if time.monotonic() >= until:
                raise
        else:
            return run


def waited(client: Client, run: run_pb2.Run, limit_s: float | None, *, as_json: bool) -> run_pb2.Run:
    """Show a run's progress until it ends or time is up; return it as last seen."""
    return client.run(_followed(client.inner.runs.watch(run.run_id), limit_s, as_json=as_json)) or run


async def _followed(answers: AsyncIterator[Any], limit_s: float | None, *, as_json: bool) -> run_pb2.Run | None:
    last = None
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=as_json or not err.is_terminal, transient=True) as progress:
        task = progress.add_task("waiting", total=None)
        try:
            async with asyncio.timeout(limit_s):
                async for answer in answers:
                    last = answer.run
                    stage = short(run_pb2.RunStage.Name(last.stage), "RUN_STAGE_") or "waiting"
                    progress.update(task, description=stage, completed=answer.done, total=answer.total or None)
                    if as_json:
                        say({"run_id": last.run_id, "stage": stage, "done": answer.done, "total": answer.total})
        except TimeoutError:
            return last
    return last


def took(run: run_pb2.Run) -> str:
    """Return in words how long a run took; "" for one that has not ended, or never began."""
    if not (run.HasField("start_time") and run.HasField("end_time")):
        return ""
    return lasting((moment(run.end_time) - moment(run.start_time)).total_seconds())


def show(run: run_pb2.Run, *, as_json: bool) -> None:
    """Print a run with its counts."""
    if as_json:
        say(document(run))
        return
    state = short(run_pb2.RunState.Name(run.state), "RUN_STATE_")
    counts = run.counts
    told = f"{run.run_id}: {state}; {counts.considered:,} tried, {counts.assigned:,} assigned, {counts.failed:,} without an owner"
    out.print(told + (f", {counts.resegmented:,} in another segment" if counts.resegmented else ""))
    if run.HasField("start_time"):
        ended = f", took {took(run)}" if run.HasField("end_time") else ""
        out.print(f"  began {moment(run.start_time):%Y-%m-%d %H:%M:%S} UTC{ended}")
    if counts.undone:
        out.print(f"  undone for {counts.undone:,} records")
    if run.failure:
        out.print(f"  {run.failure}")
    for row in counts.by_status:
        out.print(f"  {short(record_pb2.AssignmentStatus.Name(row.status), 'ASSIGNMENT_STATUS_'):<24}{row.records:>9,}")
