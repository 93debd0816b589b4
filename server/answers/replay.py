"""Planning a stored run again from what it was planned from."""

from reallot.server.errors import failed_precondition
from reallot.server.road.replaying import digest_of, joined_digest, solved_of, unpacked
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver import assignment
from reallot.storage import ReadTransaction
from reallot.v1 import assignment_service_pb2 as pb


def replay(tx: ReadTransaction, config: WorkspaceConfig, request: pb.ReplayRunRequest, now_us: int) -> pb.ReplayRunResponse:
    """Return whether planning a run again gives the same plan, which is checked again, too.

    Raises:
        ApiError: there is no such run, or what it was planned from is not kept.
    """
    run = tx.runs.get(config.workspace, request.run_id)
    body = run.body or {}
    inputs = tx.inputs.of(config.workspace, request.run_id)
    stored = str(body.get("digest", ""))
    if not inputs or not stored:
        text = f"what run {run.run_id} was planned from is not kept: see retention in the workspace's settings"
        raise failed_precondition("INPUT_NOT_KEPT", text, run=run.run_id)
    digests = []
    for content in inputs:
        try:
            given = unpacked(content)
        except ValueError as error:
            raise failed_precondition("INPUT_NOT_KEPT", f"run {run.run_id} cannot be replayed: {error}", run=run.run_id) from None
        digests.append(digest_of(solved_of(given), given.frame))
    again = joined_digest(digests)
    return pb.ReplayRunResponse(
        equal=again == stored,
        stored_digest=stored,
        replayed_digest=again,
        stored_version=str((body.get("solver") or {}).get("version", "")),
        replayed_version=assignment.SOLVER_VERSION,
    )
