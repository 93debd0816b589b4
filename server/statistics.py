"""What happened at the steps of a sequence, counted."""

from collections import Counter

from reallot.server.errors import not_found
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction
from reallot.storage.steps import CANCELLED, COMPLETED, OPEN, SKIPPED
from reallot.v1 import sequence_service_pb2 as pb


def statistics_of(tx: ReadTransaction, config: WorkspaceConfig, sequence_id: str, version: int) -> pb.GetStatisticsResponse:
    """Return the statistics of a sequence, on one version or, with 0, on all; also of one that was deleted.

    Steps are told apart by their ids, so that one that was moved stays the same step.

    Raises:
        ApiError: there never was such a sequence or version.
    """
    counts, ends = tx.steps.counts(config.workspace, sequence_id, version), tx.steps.ends(config.workspace, sequence_id, version)
    if not ends and config.find("sequence", sequence_id) is None:
        raise not_found("config", sequence_id)
    ids: dict[tuple[int, int], str] = {}
    steps: dict[str, pb.StepStatistics] = {}
    for of, body in _versions(tx, config, sequence_id, version or None, {of for of, *_ in ends}):
        for number, step in enumerate(body["steps"], 1):
            ids[of, number] = step["step_id"]
            kind = next(iter(step.keys() - {"step_id", "display_name", "overdue_after"}), "")
            steps[step["step_id"]] = pb.StepStatistics(step=number, step_id=step["step_id"], kind=kind)
    for row in counts:
        found = steps[row.step_id]
        found.reached += row.number
        found.completed += row.number if row.state == COMPLETED else 0
        found.skipped += row.number if row.state == SKIPPED else 0
        found.open += row.number if row.state == OPEN else 0
        if row.outcome and row.state == COMPLETED:
            found.outcomes[row.outcome] += row.number
        if row.state == CANCELLED:
            found.cancelled[row.end_reason] += row.number
    reasons: Counter[str] = Counter()
    for of, number, reason, count in ends:
        reasons[reason] += count
        if reason and (of, number) in ids:
            steps[ids[of, number]].ended[reason] += count
    active = reasons.pop("", 0)
    return pb.GetStatisticsResponse(steps=sorted(steps.values(), key=lambda s: (s.step, s.step_id)), active=active, ended=reasons)


def _versions(
    tx: ReadTransaction, config: WorkspaceConfig, sequence_id: str, version: int | None, used: set[int]
) -> list[tuple[int, dict[str, list[dict[str, str]]]]]:
    """Return the versions that count, the oldest first, as they were applied."""
    wanted = {version} if version is not None else used | {config.revision("sequence", sequence_id)}
    bodies = [(of, tx.steps.version(config.workspace, sequence_id, of)) for of in sorted(wanted - {0})]
    if version is not None and bodies[0][1] is None:
        raise not_found("config", f"{sequence_id} version {version}")
    return [(of, body) for of, body in bodies if body is not None]
