"""Tasks that are only planned: the same road as a run's, left before anything is committed."""

from reallot.server.road.batch import Task
from reallot.server.road.plan import Planner
from reallot.server.workspace_config import WorkspaceConfig
from reallot.v1 import insight_service_pb2, run_pb2

RUN_ID = "what-if"
"""Stands for the run in plans that nobody carries out."""


def silent(_stage: str) -> None:
    """Hear of a stage, and tell nobody."""


def a_task(config: WorkspaceConfig, now_us: int, selection: run_pb2.RunSelection, *, reopens: bool = False) -> Task:
    """Return a task over what a run with this selection would take; with `reopens`, also over what sellers own, decided anew."""
    wanted = selection.SerializeToString(deterministic=True)
    return Task(config.workspace, now_us, "WHAT_IF", RUN_ID, selection=wanted, cause={"kind": "RUN", "detail": "what if"}, reopens=reopens)


def maximum_message(planner: Planner, node: int) -> insight_service_pb2.Maximum:
    """Return what a capacity node stands for."""
    name = planner.cap_names[node]
    return insight_service_pb2.Maximum(
        seller_id=planner.pool.sellers[name.seller].seller_id,
        record_type=name.record_type,
        segment_id=name.segment,
        free=planner.cap_free[node],
    )
