"""What changing owners would gain."""

from collections import Counter

import numpy as np

from reallot.server.answers.supposing import a_task, silent
from reallot.server.answers.worth import not_proven
from reallot.server.convert.runs import level_message
from reallot.server.road.rebalancing import points_of
from reallot.server.road.solve import Drafted, drafted
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.assignment.answers import NotProven, Owned, Point
from reallot.storage import ReadTransaction
from reallot.v1 import insight_service_pb2 as pb
from reallot.v1 import run_pb2


def frontier_of(tx: ReadTransaction, config: WorkspaceConfig, request: pb.GetFrontierRequest, now_us: int) -> pb.GetFrontierResponse:
    """Return the frontier of owner changes against value.

    Raises:
        ApiError: records take other efforts than 1.
    """
    selection = run_pb2.RunSelection()
    selection.CopyFrom(request.selection)
    selection.rebalance.SetInParent()
    draft = drafted(tx, config, a_task(config, now_us, selection), silent)
    try:
        case, points = points_of(draft.work, draft.planner, draft.problem)
    except NotProven:
        raise not_proven(draft) from None
    return pb.GetFrontierResponse(points=[_message(draft, case, point) for point in points], records=draft.problem.records)


def _message(draft: Drafted, case: Owned, point: Point) -> pb.FrontierPoint:
    pool, work = draft.planner.pool, draft.work
    carried: Counter[int] = Counter()
    for load in pool.loads:
        if load.record_type in work.config.counted_types and load.seller_id in pool.place:
            carried[pool.place[load.seller_id]] += load.effort
    rows = draft.planner.rows()
    for row, option in zip(rows.tolist(), point.option_of.tolist(), strict=True):
        # Whoever gets no other owner keeps the one that there is.
        owner = int(case.problem.option_seller[option]) if option >= 0 else pool.place.get(work.records.owner_id[row], -1)
        carried[owner] += work.records.effort[row]
    loads = [carried[place] for place in np.flatnonzero(pool.assignable & pool.roles_ok).tolist()]
    return pb.FrontierPoint(
        changes=point.changes,
        levels=[level_message(level.level_id, level.value, level.bound) for level in point.levels],
        least_load=min(loads, default=0),
        most_load=max(loads, default=0),
    )
