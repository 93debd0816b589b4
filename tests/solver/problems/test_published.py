"""Published problems and their published optima."""

import csv
import os
from collections import Counter
from pathlib import Path

import pytest

from reallot.solver.problems import Problem, Reason, Sense, problem_of, solve, violations
from reallot.solver.problems.formats import read_dimacs_min, read_orlib_assign, read_orlib_gap
from reallot.solver.problems.networks import flow_violations, solve_network

DATA = Path(os.environ.get("REALLOT_DATA", "nowhere"))
pytestmark = pytest.mark.skipif(
    not DATA.is_dir() and not os.environ.get("REALLOT_DATA_REQUIRED"), reason="the real data is not here: REALLOT_DATA names its folder"
)
QUICKLY = ("gap1-0", "gap2-3", "gap3-4", "gap4-0", "gap5-2", "gap6-3", "a05100", "a20200", "c05100")
"""A few of each kind; `make bench NAME=gap` takes all."""


def published() -> list[tuple[str, str, int]]:
    table = DATA / "gap" / "optimal_values.csv"
    if not table.exists():
        return []
    return [
        (row["instance"], row["sense"], int(row["best_value"]))
        for row in csv.DictReader(table.read_text().splitlines())
        if row["instance"] in QUICKLY
    ]


@pytest.mark.parametrize(("name", "sense", "best"), published())
def test_generalised_assignment_reaches_the_published_optimum_and_proves_it(name: str, sense: str, best: int) -> None:
    problem = read_orlib_gap((DATA / "gap" / name).read_text(), {"min": Sense.MINIMISE, "max": Sense.MAXIMISE}[sense]).problem

    solution = solve(problem)

    assert (solution.levels[0].value, solution.levels[0].bound) == (best, best)
    assert solution.termination.reason is Reason.OPTIMAL


def test_linear_assignment_reaches_the_published_optimum() -> None:
    problem = read_orlib_assign((DATA / "lap" / "assign100.txt").read_text(), Sense.MINIMISE).problem

    solution = solve(problem)

    assert solution.levels[0].value == solution.levels[0].bound == 305
    assert violations(problem, solution.chosen) == []


def test_minimum_cost_flow_reaches_the_published_optimum() -> None:
    network = read_dimacs_min((DATA / "flow" / "netgen-2.min").read_text())

    units = solve_network(network)

    assert units is not None
    assert flow_violations(network, units) == []
    assert int((units * network.cost).sum()) == 6_749_969_302


WON, CLOSED = 4_238, 6_711
"""Deals won and closed over all, by which a seller's few deals on a product are smoothed."""


def maven(capacity: dict[str, int] | None) -> Problem:
    """Open opportunities and all sellers, sixty records each; with `capacity` by region, only sellers of the present owner's region."""
    folder = DATA / "maven_crm"
    deals, teams, products = (
        list(csv.DictReader((folder / f"{name}.csv").read_text(encoding="utf-8-sig").splitlines()))
        for name in ("sales_pipeline", "sales_teams", "products")
    )
    price = {row["product"]: int(row["sales_price"]) for row in products}
    named = [{**row, "product": {"GTXPro": "GTX Pro"}.get(row["product"], row["product"])} for row in deals]
    closed = Counter((row["sales_agent"], row["product"]) for row in named if row["deal_stage"] in ("Won", "Lost"))
    won = Counter((row["sales_agent"], row["product"]) for row in named if row["deal_stage"] == "Won")
    assert (won.total(), closed.total()) == (WON, CLOSED)
    region = {row["sales_agent"]: row["regional_office"] for row in teams}
    sellers = sorted(region)
    waiting = [row for row in named if row["deal_stage"] in ("Engaging", "Prospecting")]
    pairs = [
        (record, place, price[row["product"]] * 100 * (won[seller, row["product"]] * CLOSED + 5 * WON))
        for record, row in enumerate(waiting)
        for place, seller in enumerate(sellers)
        if capacity is None or region[seller] == region[row["sales_agent"]]
    ]
    below = [(closed[sellers[place], waiting[record]["product"]] + 5) * CLOSED for record, place, _ in pairs]
    return problem_of(
        records=len(waiting),
        sellers=len(sellers),
        record=[record for record, _, _ in pairs],
        seller=[place for _, place, _ in pairs],
        value=[above // under for (_, _, above), under in zip(pairs, below, strict=True)],
        maximum_load=[60 if capacity is None else capacity[region[seller]] for seller in sellers],
        sense=Sense.MAXIMISE,
    )


@pytest.mark.parametrize(
    ("capacity", "value"), [(None, 363_871_173), ({"Central": 83, "West": 63, "East": 37}, 354_734_386)], ids=["anyone", "own region"]
)
def test_open_opportunities_of_a_crm_are_worth_exactly_what_is_known(capacity: dict[str, int] | None, value: int) -> None:
    problem = maven(capacity)

    solution = solve(problem)

    assert len(solution.chosen) == problem.records == 2_089
    assert solution.levels[0].value == solution.levels[0].bound == value
    assert violations(problem, solution.chosen) == []
