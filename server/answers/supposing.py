"""Tasks that are only planned: the same road as a run's, left before anything is committed."""

from reallot.server.road.batch import Task
from reallot.server.workspace_config import WorkspaceConfig
from reallot.v1 import run_pb2

RUN_ID = "what-if"
"""Stands for the run in plans that nobody carries out."""


def silent(_stage: str) -> None:
    """Hear of a stage, and tell nobody."""


def a_task(config: WorkspaceConfig, now_us: int, selection: run_pb2.RunSelection, *, reopens: bool = False) -> Task:
    """Return a task over what a run with this selection would take; with `reopens`, also over what sellers own, decided anew."""
    wanted = selection.SerializeToString(deterministic=True)
    return Task(config.workspace, now_us, "WHAT_IF", RUN_ID, selection=wanted, cause={"kind": "RUN", "detail": "what if"}, reopens=reopens)
