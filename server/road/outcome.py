"""From a solved problem back to records: the rows of a `Plan`, with status and sentence for everybody. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reallot.server.road.batch import Plan
from reallot.server.road.plan import Planner
from reallot.server.road.reasons import RuleTrace, sentence, shown_status
from reallot.server.road.selection import NOT_RUN
from reallot.server.road.work import Work
from reallot.solver import assignment

_OVERDUE = ("NO_AVAILABILITY", "RECORD_TOO_OLD")


@dataclass(frozen=True)
class Solved:
    """A problem with its solution.

    Attributes:
        rows: Row of the batch that each record of the problem stands for: int64, shape (records,).
        beyond: Rows that could have been assigned and are over the size limit of the run: nothing is decided about them.
    """

    problem: assignment.Problem
    solution: assignment.Solution
    rows: npt.NDArray[np.int64]
    beyond: frozenset[int] = frozenset()


def plan_of(work: Work, planner: Planner, solved: Solved) -> Plan:
    """Return the decisions: first the assigned records in the order of their turns, then the others about which there is one."""
    problem, solution = solved.problem, solved.solution
    chain_of = dict(zip(planner.rows().tolist(), planner.chain_numbers().tolist(), strict=True))
    option_of = dict(zip(solved.rows.tolist(), solution.option_of.tolist(), strict=True))
    ordered = solved.rows[solution.turn_order].tolist()
    left_out = solved.beyond.union(ordered)
    plan = Plan(work.config.version, traces=[_documents(traces) for traces in planner.draft.traces])
    for row in [*ordered, *(row for row in range(len(work.records)) if row not in left_out)]:
        if _says_something(work, row):
            plan.add(**_row(work, planner, problem, row, option_of.get(row, -1), chain_of.get(row)))
    plan.levels = [(level.level_id, level.value, level.bound) for level in solution.levels]
    plan.termination = (str(solution.termination.reason), str(solution.termination.limit))
    plan.solver = {"version": assignment.SOLVER_VERSION, "classes": problem.classes, "pairs": problem.options}
    return plan


def _documents(traces: Sequence[RuleTrace]) -> list[Any]:
    return [trace.document() for trace in traces]


def _says_something(work: Work, row: int) -> bool:
    """Tell whether anything is decided about a record; what came in has a mark that is to be cleared in any case."""
    if work.task.kind == "INTAKE" or work.assign[row] or work.segment[row] != work.records.segment_id[row]:
        return True
    return bool(work.status[row]) and work.status[row] != work.records.assignment[row]


def _row(work: Work, planner: Planner, problem: assignment.Problem, row: int, option: int, chain: int | None) -> dict[str, Any]:
    records, tried = work.records, bool(work.assign[row])
    decided = _tried(work, planner, problem, row, option, chain) if tried else _not_tried(work, row)
    cause = work.cause(row)
    return {
        "record_id": records.record_id[row],
        "version": records.version[row],
        "generation": records.pending_generation[row],
        "segment_id": str(work.segment[row]),
        "segmentation": str(work.segmentation[row]),
        "touches_owner": tried or bool(work.released[row]),
        "former_seller_id": records.owner_id[row] if records.owner_kind[row] == "SELLER" else "",
        "tried": tried,
        "overdue": decided["assignment"] in _OVERDUE,
        "quiet": work.quiet(row),
        "trace": chain if tried and chain is not None else -1,
        "cause": cause,
        **decided,
    }


def _tried(work: Work, planner: Planner, problem: assignment.Problem, row: int, option: int, chain: int | None) -> dict[str, Any]:
    traces = planner.draft.traces[chain] if chain is not None else ()
    if option < 0 or chain is None:
        status = shown_status(traces)
        reason = sentence(status, _segment_name(work, row), traces)
        return {
            "assignment": status,
            "seller_id": "",
            "rule_id": next((t.rule_id for t in traces if t.status == status), ""),
            "reason": reason,
            "binding": False,
        }
    seller = planner.pool.sellers[int(problem.option_seller[option])]
    rule = planner.draft.chains[chain][int(problem.option_rank[option])]
    name = rule.message.display_name or rule.key
    return {
        "assignment": "ASSIGNED",
        "seller_id": seller.seller_id,
        "rule_id": rule.key,
        "reason": f"rule {name} chose {seller.display_name or seller.seller_id}",
        "binding": rule.use_capacity,
    }


def _not_tried(work: Work, row: int) -> dict[str, Any]:
    status, keeper = str(work.status[row]), str(work.kept_by[row])
    reason = ""
    if status == "ASSIGNED":
        reason = f"the owner stays: rule {keeper} allows it"
    elif work.released[row]:
        reason = "the record matches no segment any more"
    elif status == "NO_RULE_IN_SEGMENT":
        reason = "the record is in no segment"
    elif status == "WAITING" and work.quiet(row):
        reason = "the record was imported without being assigned and waits for a run"
    elif status in ("WAITING", NOT_RUN):
        reason = sentence(status, _segment_name(work, row), ())
    return {"assignment": status, "seller_id": "", "rule_id": keeper, "reason": reason, "binding": False}


def _segment_name(work: Work, row: int) -> str:
    segment = work.config.segments.get(work.segment[row])
    return segment.name if segment else "none"
