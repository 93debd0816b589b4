"""What a preview has shown, as the only thing that a plan may still decide: every record goes where it was shown, or stays. Reads."""

from typing import Any

import numpy as np

from reallot.server.road.plan import Planner
from reallot.server.road.work import Work
from reallot.solver.assignment.problem import Problem
from reallot.solver.assignment.restricting import restricted
from reallot.storage import ReadTransaction
from reallot.storage.documents import load


def as_shown(tx: ReadTransaction, work: Work, planner: Planner, problem: Problem) -> Problem:
    """Return the problem of a run that is applied, in which each record may only go where its preview has shown it."""
    rows, chains = planner.rows().tolist(), planner.chain_numbers().tolist()
    ids = [work.records.record_id[row] for row in rows]
    shown = tx.previews.of(work.task.workspace, work.task.run_id, ids)
    seller, rank = np.full(len(rows), -1, dtype=np.int64), np.full(len(rows), -1, dtype=np.int64)
    for index, (record_id, chain) in enumerate(zip(ids, chains, strict=True)):
        state = load(shown[record_id][1]) if record_id in shown else {}
        rules = [rule.key for rule in planner.draft.chains[chain]] if chain >= 0 else []
        if (taker := taker_of(state)) is not None and state.get("rule_id") in rules:
            seller[index], rank[index] = planner.pool.place_of(*taker), rules.index(state["rule_id"])
    return restricted(problem, seller, rank)


def taker_of(state: Any) -> tuple[str, str] | None:
    """Return kind and id of who owns a record in a state as events show it, or has an offer of it; None = nobody."""
    owner = state.get("owner") or {}
    for name, kind in (("seller_id", "SELLER"), ("team_id", "TEAM"), ("queue_id", "QUEUE")):
        if owner.get(name):
            return kind, str(owner[name])
    return ("SELLER", str(state["offered_seller_id"])) if state.get("offered_seller_id") else None
