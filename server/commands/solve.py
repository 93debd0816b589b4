"""`reallot solve`: solve a problem that stands in a file, here and now, without a server."""

import csv
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from reallot.solver.problems import Fairness, InvalidProblem, Problem, Progress, Reason, Sense, Solution, solve
from reallot.solver.problems.formats import (
    FlowNetwork,
    Format,
    Reading,
    UnreadableFile,
    read_dimacs_min,
    read_json,
    read_orlib_assign,
    read_orlib_gap,
)
from reallot.solver.problems.networks import flow_violations, solve_network
from reallot.solver.problems.solve import DEFAULT_TIME_LIMIT_S

INVALID, TIMED_OUT = 2, 8
_FAIRNESS = {"": Fairness.NONE, "even-load": Fairness.EVEN_LOAD, "maximin-value": Fairness.MAXIMIN_VALUE}
_SENSES = {"min": Sense.MINIMISE, "max": Sense.MAXIMISE}


@dataclass(frozen=True)
class Asked:
    """How to solve."""

    time_limit: float
    seed: int
    fairness: Fairness
    price_steps: int


@dataclass(frozen=True)
class Answer:
    """What is printed. `rows` are the plan for a file, with their names first; `reason` says why there is no plan."""

    status: Reason
    value: float | int | None
    bound: float | int | None
    seconds: float
    assigned: int
    unassigned: int
    rows: list[tuple[Any, ...]]
    reason: str = ""
    fairness: dict[str, Any] | None = None

    @property
    def gap(self) -> float | None:
        """Distance of value and bound as a share of the value."""
        if self.value is None or self.bound is None:
            return None
        return 0.0 if self.value == self.bound else round(abs(self.value - self.bound) / max(abs(self.value), 1), 9)

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        made = {
            "status": self.status.value,
            "value": self.value,
            "bound": self.bound,
            "gap": self.gap,
            "seconds": self.seconds,
            "assigned": self.assigned,
            "unassigned": self.unassigned,
        }
        return made | ({"reason": self.reason} if self.reason else {}) | ({"fairness": self.fairness} if self.fairness else {})


def solve_file(
    file: Annotated[Path, typer.Argument(help="The problem.", exists=True, dir_okay=False)],
    form: Annotated[Format, typer.Option("--format", help="What the file holds.")] = Format.JSON,
    sense: Annotated[str, typer.Option(help="min or max; default: what the file says, else min.")] = "",
    time_limit: Annotated[float, typer.Option(help="Seconds that the search may take.", min=0.1)] = DEFAULT_TIME_LIMIT_S,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    fairness: Annotated[str, typer.Option(help="even-load or maximin-value: what is fair, before anything else counts.")] = "",
    price_steps: Annotated[int, typer.Option(help="In how many steps to say what fairness costs.", min=0, max=20)] = 0,
    plan: Annotated[Path | None, typer.Option(help="Write the plan to this CSV file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Solve a problem of your own; the plan comes with a proven bound, or a reason why there is none."""
    if sense not in ("", *_SENSES):
        _refuse(f"--sense {sense!r} is neither min nor max")
    if fairness not in _FAIRNESS:
        _refuse(f"--fairness {fairness!r} is neither even-load nor maximin-value")
    if fairness and form is Format.DIMACS_MIN:
        _refuse("--fairness is for records and sellers, not for flows")
    if price_steps and not fairness:
        _refuse("--price-steps needs --fairness")
    try:
        read = _read(file.read_text(), form, _SENSES.get(sense))
        answer = (
            _flow(read)
            if isinstance(read, FlowNetwork)
            else _assignment(read, Asked(time_limit, seed, _FAIRNESS[fairness], price_steps), quiet=as_json)
        )
        if plan is not None and answer.rows:
            _write(plan, answer.rows)
    except (InvalidProblem, UnreadableFile, UnicodeDecodeError, OSError) as error:
        _refuse(f"{file}: {error}")
    if as_json:
        sys.stdout.write(json.dumps(answer.document()) + "\n")
    else:
        _show(answer, file)
    if answer.status is Reason.NO_SOLUTION_FOUND:
        raise typer.Exit(TIMED_OUT)


def _refuse(text: str) -> NoReturn:
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(INVALID)


def _read(text: str, form: Format, sense: Sense | None) -> Reading | FlowNetwork:
    match form:
        case Format.JSON:
            return read_json(text, sense)
        case Format.ORLIB_GAP:
            return read_orlib_gap(text, sense or Sense.MINIMISE)
        case Format.ORLIB_ASSIGN:
            return read_orlib_assign(text, sense or Sense.MINIMISE)
        case Format.DIMACS_MIN:
            if sense is Sense.MAXIMISE:
                raise InvalidProblem("--sense", "a flow of this format is minimised")
            return read_dimacs_min(text)


def _assignment(reading: Reading, asked: Asked, *, quiet: bool) -> Answer:
    problem, console = reading.problem, Console(stderr=True, highlight=False)
    shows = console.is_terminal and not quiet
    with console.status("solving") as status:
        if not shows:
            status.stop()

        def told(progress: Progress) -> None:
            status.update(f"solving: value {progress.value}, bound {progress.bound}, {progress.seconds:.1f} s")

        solution = solve(
            problem,
            time_limit_s=asked.time_limit,
            seed=asked.seed,
            on_progress=told,
            fairness=asked.fairness,
            price_steps=asked.price_steps,
        )
    return _answer(problem, solution, asked.fairness, reading.scale)


def _answer(problem: Problem, solution: Solution, fairness: Fairness, scale: int) -> Answer:
    first = solution.levels[0] if solution.levels else None
    assigned = len(np.unique(problem.record[solution.chosen]))
    rows: list[tuple[Any, ...]] = [("record", "seller", "value", "load")]
    for pair in solution.chosen.tolist():
        record, seller = int(problem.record[pair]), int(problem.seller[pair])
        names = (problem.record_ids[record] if problem.record_ids else record, problem.seller_ids[seller] if problem.seller_ids else seller)
        rows.append((*names, _unscaled(int(problem.value[pair]), scale), int(problem.load[pair])))
    needing = int((problem.demand > 0).sum())
    return Answer(
        status=solution.termination.reason,
        value=_unscaled(first.value, scale) if first else None,
        bound=_unscaled(first.bound, scale) if first else None,
        seconds=round(solution.seconds["total"], 3),
        assigned=assigned,
        unassigned=len(solution.unassigned) if solution.has_plan else needing,
        rows=rows if solution.has_plan else [],
        reason=_reason(solution),
        fairness=_fairness(problem, solution, fairness, scale),
    )


def _fairness(problem: Problem, solution: Solution, fairness: Fairness, scale: int) -> dict[str, Any] | None:
    report = solution.fairness
    if report is None:
        return None
    own = 1 if fairness is Fairness.EVEN_LOAD else scale
    names = problem.seller_ids or tuple(str(seller) for seller in range(problem.sellers))
    return {
        "measure": _unscaled(report.measure, own),
        "bound": _unscaled(report.bound, own),
        "loads": dict(zip(names, report.loads.tolist(), strict=True)),
        "values": {name: _unscaled(value, scale) for name, value in zip(names, report.values.tolist(), strict=True)},
        "price": [
            {
                "floor": _unscaled(s.floor, own),
                "measure": _unscaled(s.measure, own),
                "value": _unscaled(s.value, scale),
                "bound": _unscaled(s.bound, scale),
            }
            for s in report.price
        ],
    }


def _reason(solution: Solution) -> str:
    if solution.conflict is not None:
        return solution.conflict.text
    return "" if solution.has_plan else "no plan was found within the time limit, and none is proven impossible"


def _unscaled(value: int, scale: int) -> float | int:
    return value if scale == 1 else value / scale


def _flow(network: FlowNetwork) -> Answer:
    started = time.perf_counter()
    units = solve_network(network)
    seconds = round(time.perf_counter() - started, 3)
    supply = int(network.supply[network.supply > 0].sum())
    if units is None:
        return Answer(Reason.INFEASIBLE, None, None, seconds, 0, supply, [], "no flow meets all supplies, demands and bounds")
    if found := flow_violations(network, units):
        raise RuntimeError("; ".join(found))
    value = int((network.cost * units).sum())
    used = np.flatnonzero(units).tolist()
    rows: list[tuple[Any, ...]] = [("tail", "head", "cost", "units")]
    rows += [(int(network.tail[a]) + 1, int(network.head[a]) + 1, int(network.cost[a]), int(units[a])) for a in used]
    return Answer(Reason.OPTIMAL, value, value, seconds, supply, 0, rows)


def _write(plan: Path, rows: list[tuple[Any, ...]]) -> None:
    with plan.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def _show(answer: Answer, file: Path) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(str(file), markup=False, soft_wrap=True)
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    gap = "" if answer.gap is None else f"{100 * answer.gap:.3f} %"
    for name, value in (
        ("status", answer.status.value.lower().replace("_", " ")),
        ("value", "none" if answer.value is None else f"{answer.value:,}"),
        ("bound", "none" if answer.bound is None else f"{answer.bound:,}"),
        ("gap", gap),
        ("seconds", f"{answer.seconds:,}"),
        ("assigned", f"{answer.assigned:,}"),
        ("unassigned", f"{answer.unassigned:,}"),
    ):
        table.add_row(name, value)
    if answer.fairness:
        table.add_row("fairness", f"{answer.fairness['measure']:,} (bound {answer.fairness['bound']:,})")
    for step in (answer.fairness or {}).get("price", ()):
        table.add_row(f"at {step['measure']:,}", f"{step['value']:,}")
    console.print(table)
    if answer.reason:
        console.print(f"no solution: {answer.reason}", markup=False)
