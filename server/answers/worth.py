"""What one more slot of each seller would be worth for the records that a run would take."""

import numpy as np

from reallot.server.answers.supposing import a_task, silent
from reallot.server.errors import ApiError, failed_precondition
from reallot.server.road.solve import Drafted, drafted
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver import assignment
from reallot.solver.assignment.answers import NotProven, worth
from reallot.storage import ReadTransaction
from reallot.v1 import insight_service_pb2 as pb


def not_proven(draft: Drafted) -> ApiError:
    """Return why nothing exact can be said: records take other efforts than 1, or costs are too large."""
    uneven = np.flatnonzero(draft.problem.effort[draft.problem.class_of] != 1)
    if not len(uneven):
        text = "the plan is not proven optimal: records go together, or costs are too large to be added up safely"
        return failed_precondition("NOT_PROVEN", text)
    record = draft.work.records.record_id[int(draft.planner.rows()[uneven[0]])]
    text = f"this is exact only for records of effort 1, and {len(uneven)} of the records take another, e.g. {record!r}: select others"
    return failed_precondition("EFFORT_NOT_ONE", text, record=record)


def worth_of_slots(tx: ReadTransaction, config: WorkspaceConfig, request: pb.GetWorthRequest, now_us: int) -> pb.GetWorthResponse:
    """Return the worth of one more slot for every maximum of which one would change the plan, the most valuable first."""
    draft = drafted(tx, config, a_task(config, now_us, request.selection), silent, keep_full=True)
    solution = assignment.solve(draft.problem)
    try:
        found = worth(draft.problem, solution)
    except NotProven:
        raise not_proven(draft) from None
    planner = draft.planner
    worthy = np.flatnonzero(found.changes.any(axis=1))
    order = worthy[np.lexsort((worthy, *found.changes[worthy].T[::-1]))]
    slots = [
        pb.SlotWorth(
            seller_id=planner.pool.sellers[name.seller].seller_id,
            record_type=name.record_type,
            segment_id=name.segment,
            level_changes=found.changes[node].tolist(),
        )
        for node, name in ((node, planner.cap_names[node]) for node in order.tolist())
    ]
    return pb.GetWorthResponse(
        level_ids=found.level_ids, slots=slots, records=draft.problem.records, waiting=int((~solution.assigned).sum())
    )
