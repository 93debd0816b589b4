"""Runs between the contract and the entities."""

from collections.abc import Mapping

from reallot.server.convert.records import assignment_status
from reallot.server.convert.values import from_us, maybe_from_us
from reallot.server.languages import Catalogue
from reallot.server.road.events import because
from reallot.storage.entities import Run
from reallot.v1 import run_pb2

_COUNTS = ("considered", "assigned", "moved", "released", "failed", "resegmented", "lost", "undone", "offered")


def run_message(run: Run, speech: Catalogue) -> run_pb2.Run:
    """Return a stored run as a message."""
    body = run.body or {}
    reason, limit = body.get("termination") or ("", "")
    message = run_pb2.Run(
        run_id=run.run_id,
        kind=run_pb2.RunKind.Value(f"RUN_KIND_{run.kind}"),
        cause=speech.text((run.cause or {}).get("detail") or because(run.cause)).strip(" ,"),
        selection=run_pb2.RunSelection.FromString(bytes.fromhex(run.selection)) if run.selection else None,
        state=run_pb2.RunState.Value(f"RUN_STATE_{run.state}"),
        stage=run_pb2.RunStage.Value(f"RUN_STAGE_{run.stage.upper() or 'UNSPECIFIED'}"),
        counts=counts_message(run.counts),
        levels=[
            # Runs of earlier versions name no batch.
            level_message(name, value, bound, batch[0] if batch else 0)
            for name, value, bound, *batch in body.get("levels", ())
        ],
        termination=run_pb2.Termination(
            reason=run_pb2.TerminationReason.Value(f"TERMINATION_REASON_{reason or 'UNSPECIFIED'}"),
            limit=run_pb2.TerminationLimit.Value(f"TERMINATION_LIMIT_{limit or 'UNSPECIFIED'}"),
        ),
        solver=run_pb2.SolverInfo(seed=run.seed, replayable=bool(body.get("digest")), **body.get("solver", {})),
        stage_seconds=[
            run_pb2.StageSeconds(stage=run_pb2.RunStage.Value(f"RUN_STAGE_{stage.upper()}"), seconds=seconds)
            for stage, seconds in body.get("seconds", {}).items()
        ],
        schedule_id=run.schedule_id,
        firing_time=maybe_from_us(run.firing_us),
        limit=run.limit,
        failure=speech.text(run.failure),
        digest=body.get("digest", ""),
        cancel_requested=run.cancel_requested,
        create_time=from_us(run.create_us),
        start_time=maybe_from_us(run.start_us),
        end_time=maybe_from_us(run.end_us),
    )
    if run.time_limit_us:
        message.time_limit.FromMicroseconds(run.time_limit_us)
    return message


def level_message(level_id: str, value: int, bound: int | None, batch: int = 0) -> run_pb2.LevelResult:
    """Return one level of a plan as a message."""
    return run_pb2.LevelResult(level_id=level_id, value=value, bound=bound if bound is not None else 0, batch=batch)


def counts_message(counts: Mapping[str, int]) -> run_pb2.RunCounts:
    """Return what a plan or run came to as a message; `counts` are by outcome and "status:NAME"."""
    statuses = {k.removeprefix("status:"): n for k, n in counts.items() if k.startswith("status:")}
    return run_pb2.RunCounts(
        **{name: counts.get(name, 0) for name in _COUNTS},
        by_status=[run_pb2.StatusCount(status=assignment_status(s), records=n) for s, n in sorted(statuses.items())],
    )
