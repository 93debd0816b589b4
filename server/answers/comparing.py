"""What would be if: two plans over the same records on one snapshot, the second under changes, and how they differ. Nothing is written."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reallot.server.answers.supposing import a_task, silent
from reallot.server.configuration import selection_faults, validate
from reallot.server.convert.records import assignment_status
from reallot.server.convert.runs import counts_message, level_message
from reallot.server.convert.seller_upserts import SellerReader
from reallot.server.errors import Violation
from reallot.server.road.fitting import shown_score
from reallot.server.road.outcome import Decisions
from reallot.server.road.pool import Pool
from reallot.server.road.solve import decided
from reallot.server.road.writing import Writing
from reallot.server.validation import refuse
from reallot.server.workspace_config import WorkspaceConfig, messages_of, resource_id
from reallot.storage import ReadTransaction
from reallot.storage.documents import load
from reallot.storage.entities import Seller
from reallot.storage.previews import Preview, preview_of
from reallot.v1 import config_pb2, run_pb2, seller_service_pb2
from reallot.v1 import insight_service_pb2 as pb
from reallot.v1.value_pb2 import Owner

MOST_DIFFERENCES, DEFAULT_DIFFERENCES = 10_000, 1_000
MOST_HIRES = 1_000
Sellers = Callable[[Pool], Pool]


@dataclass(frozen=True)
class Planned:
    """A plan that nobody carries out.

    Attributes:
        decisions: What it decides.
        counts: What it comes to.
        lines: What it would do to each record, by id.
    """

    decisions: Decisions
    counts: Counter[str]
    lines: dict[str, Preview]


def planned(
    tx: ReadTransaction, config: WorkspaceConfig, selection: run_pb2.RunSelection, now_us: int, *, reopens: bool, changed: Sellers
) -> Planned:
    """Return the plan over a selection under a configuration and what is supposed of the sellers."""
    decisions = decided(tx, config, a_task(config, now_us, selection, reopens=reopens), silent, changed)
    counts: Counter[str] = Counter()
    lines = {}
    for piece in Writing(decisions).pieces():
        counts.update(piece.tally.counts)
        lines.update({line.record_id: line for line in map(preview_of, piece.moves)})
    return Planned(decisions, counts, lines)


def what_if(tx: ReadTransaction, config: WorkspaceConfig, request: pb.WhatIfRequest, now_us: int) -> pb.WhatIfResponse:
    """Return what a run would do as things are, and what it would do under the changes.

    Raises:
        ApiError: the changes cannot be supposed.
    """
    refuse(_request_faults(request))
    changes = _supposed(config, request.resources, "resources")
    faults = [Violation(f"selection.{path}", text, reason) for path, text, reason in selection_faults(changes, request.selection)]
    refuse(faults)
    changed = _sellers_changed(tx, changes, request, now_us)
    before = planned(tx, config, request.selection, now_us, reopens=request.reopen, changed=lambda pool: pool)
    after = planned(tx, changes, request.selection, now_us, reopens=request.reopen, changed=changed)
    lines = _differing(before, after)
    most = request.most_differences if request.HasField("most_differences") else DEFAULT_DIFFERENCES
    return pb.WhatIfResponse(
        before=counts_message(before.counts),
        after=counts_message(after.counts),
        levels_before=_levels(before),
        levels_after=_levels(after),
        differences=lines[:most],
        different=len(lines),
        sellers=_seller_differences(before, after),
        figures_before=_figures(tx, before),
        figures_after=_figures(tx, after),
    )


def compare(tx: ReadTransaction, config: WorkspaceConfig, request: pb.CompareRequest, now_us: int) -> pb.CompareResponse:
    """Return what two configurations make of the same records.

    Raises:
        ApiError: a configuration cannot be used.
    """
    refuse(_request_faults(request))
    both = []
    for name in ("first", "second"):
        candidate = _supposed(config, getattr(request, name), name)
        faults = selection_faults(candidate, request.selection)
        refuse([Violation(f"selection.{path}", text, reason) for path, text, reason in faults])
        reopens = not request.waiting_only
        both.append(planned(tx, candidate, request.selection, now_us, reopens=reopens, changed=lambda pool: pool))
    first, second = both
    lines = _differing(first, second)
    most = request.most_differences if request.HasField("most_differences") else DEFAULT_DIFFERENCES
    return pb.CompareResponse(
        first=counts_message(first.counts),
        second=counts_message(second.counts),
        first_levels=_levels(first),
        second_levels=_levels(second),
        first_figures=_figures(tx, first),
        second_figures=_figures(tx, second),
        differences=lines[:most],
        different=len(lines),
        sellers=_seller_differences(first, second),
    )


def _request_faults(request: Any) -> Iterator[Violation]:
    if request.HasField("most_differences") and not 0 <= request.most_differences <= MOST_DIFFERENCES:
        yield Violation("most_differences", f"{request.most_differences} is not between 0 and {MOST_DIFFERENCES}")


def _supposed(stored: WorkspaceConfig, resources: Sequence[config_pb2.ConfigResource], path: str) -> WorkspaceConfig:
    """Return the configuration with some resources in place of stored ones, or beside them."""
    if not resources:
        return stored
    faults, paths = [], {}
    for index, resource in enumerate(resources):
        kind, name = resource_id(resource)
        if not kind or not name or (kind, name) in paths:
            faults.append(Violation(f"{path}[{index}]", "the resource is empty, without id, or comes twice"))
        paths[kind, name] = f"{path}[{index}].{kind}"
    refuse(faults)
    candidate = WorkspaceConfig(stored.workspace, stored.version, {**stored.resources, **messages_of(resources)}, paths)
    validate(candidate)
    refuse(candidate.violations)
    return candidate


def _sellers_changed(tx: ReadTransaction, config: WorkspaceConfig, request: pb.WhatIfRequest, now_us: int) -> Sellers:
    """Return what the request supposes of the sellers, checked."""
    stored = tx.sellers.get(config.workspace)
    present = dict(stored)
    reader = SellerReader(config, now_us)
    for index, message in enumerate(request.sellers):
        row = seller_service_pb2.SellerUpsert(seller=message)
        present[message.seller_id] = reader.read(row, present.get(message.seller_id), f"sellers[{index}]")
    faults = [replace(fault, field=fault.field.replace("].seller.", "].", 1)) for fault in reader.violations]
    for index, name in enumerate(request.absent_seller_ids):
        if name not in present:
            faults.append(Violation(f"absent_seller_ids[{index}]", f"seller {name!r} does not exist", "UNKNOWN_REFERENCE"))
        else:
            present[name] = replace(present[name], assignable=False)
    for index, hire in enumerate(request.hires):
        if hire.like_seller_id not in present:
            text = f"seller {hire.like_seller_id!r} does not exist"
            faults.append(Violation(f"hires[{index}].like_seller_id", text, "UNKNOWN_REFERENCE"))
        elif not 1 <= hire.count <= MOST_HIRES:
            faults.append(Violation(f"hires[{index}].count", f"{hire.count} is not between 1 and {MOST_HIRES}"))
        else:
            present.update(_hired(present, hire.like_seller_id, hire.count))
    refuse(faults)
    sellers = [seller for _, seller in sorted(present.items())]
    return lambda pool: replace(pool, sellers=sellers)


def _hired(present: dict[str, Seller], like: str, count: int) -> dict[str, Seller]:
    found: dict[str, Seller] = {}
    number = 0
    while len(found) < count:
        number += 1
        name = f"{like}+{number}"
        if name not in present:
            found[name] = replace(present[like], seller_id=name, display_name=name, assignable=True)
    return found


def _levels(plan: Planned) -> list[run_pb2.LevelResult]:
    return [level_message(level.level_id, level.value, level.bound) for level in plan.decisions.solved.solution.levels]


def _state(document: Any) -> pb.PlannedState:
    owner = document.get("owner") or {}
    status = str(document.get("assignment", "")).removeprefix("ASSIGNMENT_STATUS_")
    return pb.PlannedState(
        owner=Owner(**owner) if owner else None, status=assignment_status(status), segment_id=document.get("segment_id", "")
    )


def _differing(first: Planned, second: Planned) -> list[pb.RecordDifference]:
    """Return the records that two plans leave differently, by id; what a plan says nothing about stays as it is."""
    found = []
    for record_id in sorted({*first.lines, *second.lines}):
        one, other = first.lines.get(record_id), second.lines.get(record_id)
        as_it_is = next(line.before for line in (one, other) if line is not None)
        states = [_state(load(line.after if line is not None else as_it_is)) for line in (one, other)]
        if states[0] != states[1]:
            found.append(pb.RecordDifference(record_id=record_id, before=states[0], after=states[1]))
    return found


def _gains(plan: Planned) -> tuple[Counter[str], Counter[str]]:
    """Return by how many records, and by how much load, each seller's share changes."""
    records: Counter[str] = Counter()
    loads: Counter[str] = Counter()
    for line in plan.lines.values():
        old, new = ((load(text).get("owner") or {}).get("seller_id", "") for text in (line.before, line.after))
        if old != new:
            for seller, sign in ((old, -1), (new, 1)):
                records[seller] += sign
                loads[seller] += sign * line.effort
    return records, loads


def _carried(plan: Planned) -> dict[str, int]:
    """Return what each seller carries after a plan."""
    work, pool = plan.decisions.work, plan.decisions.planner.pool
    carried = dict.fromkeys((seller.seller_id for seller in pool.sellers), 0)
    # The pool's loads lack what was decided anew; it is given back where it stays.
    for held in pool.loads:
        if held.record_type in work.config.counted_types and held.seller_id in carried:
            carried[held.seller_id] += held.effort
    takers = plan.decisions.takers.tolist()
    for row, taker in enumerate(takers):
        if 0 <= taker < len(pool.sellers) and work.records.record_type[row] in work.config.counted_types:
            carried[pool.owner_at(taker).id] += work.records.effort[row]
    return carried


def _seller_differences(first: Planned, second: Planned) -> list[pb.SellerDifference]:
    gained, carried = [_gains(plan)[0] for plan in (first, second)], [_carried(plan) for plan in (first, second)]
    found = []
    for name in sorted({*carried[0], *carried[1]}):
        records, loads = [gain[name] for gain in gained], [carry.get(name, 0) for carry in carried]
        if records[0] != records[1] or loads[0] != loads[1]:
            found.append(
                pb.SellerDifference(
                    seller_id=name, records_before=records[0], records_after=records[1], load_before=loads[0], load_after=loads[1]
                )
            )
    return found


def _figures(tx: ReadTransaction, plan: Planned) -> pb.PlanFigures:
    decisions = plan.decisions
    work, pool, solution = decisions.work, decisions.planner.pool, decisions.solved.solution
    chosen = solution.option_of[solution.assigned]
    scores = [shown_score(score) for score in decisions.planner.scores()[chosen].tolist()]
    carried = _carried(plan)
    loads = [carried[seller.seller_id] for seller in pool.sellers if seller.assignable and seller.roles_ok]
    mean = sum(loads) / len(loads) if loads else 0.0
    covered = [work.records.record_id[row] for row, taker in enumerate(decisions.takers.tolist()) if taker >= 0]
    changes = sum(
        (work.records.owner_id[row] if work.records.owner_kind[row] else "") != pool.owner_at(taker).id
        for row, taker in enumerate(decisions.takers.tolist())
        if taker >= 0
    )
    return pb.PlanFigures(
        planned=len(solution.option_of),
        covered=len(covered),
        owner_changes=changes,
        value_covered=sum(record.value_units for record in tx.records.get(work.config.workspace, covered).values()),
        score=sum(score for score in scores if score is not None),
        sellers=len(loads),
        least_load=min(loads, default=0),
        most_load=max(loads, default=0),
        mean_load=mean,
        load_deviation=math.sqrt(sum((carry - mean) ** 2 for carry in loads) / len(loads)) if loads else 0.0,
    )
