"""Small problems of the caller's own, and what a plan of one is worth, told once more in plain Python."""

from typing import Any

from hypothesis import strategies as st

from reallot.solver.problems import Problem, Sense, problem_of
from reallot.solver.problems.problem import UNLIMITED


@st.composite
def problems(draw: st.DrawFn, *, unit: bool = False, levels: int = 1) -> Problem:
    records, sellers = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    listed = [(r, s) for r in range(records) for s in range(sellers) if draw(st.booleans())]
    size = len(listed)

    def column(values: st.SearchStrategy[Any], rows: int) -> list[Any]:
        return draw(st.lists(values, min_size=rows, max_size=rows))

    return problem_of(
        records=records,
        sellers=sellers,
        record=[r for r, _ in listed],
        seller=[s for _, s in listed],
        value=column(st.integers(-5, 9), size),
        load=[] if unit else column(st.integers(0, 4), size),
        level=column(st.integers(0, levels - 1), size),
        pinned=column(st.sampled_from([False] * 6 + [True]), size),
        hint=column(st.booleans(), size),
        demand=column(st.sampled_from([0, 1, 1, 1, 2]), records),
        optional=column(st.sampled_from([False, False, True]), records),
        skip_cost=column(st.integers(-2, 12), records),
        minimum_load=column(st.sampled_from([0, 0, 0, 1, 2]), sellers),
        maximum_load=column(st.sampled_from([1, 2, 3, 5, UNLIMITED]), sellers),
        sense=draw(st.sampled_from(list(Sense))),
    )


def plan_values(problem: Problem, chosen: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return what a plan is worth at every level, None if it breaks a rule: told here once more, in plain Python."""
    loads, given_ = [0] * problem.sellers, [0] * problem.records
    totals = [0] * problem.levels
    for pair in chosen:
        loads[problem.seller[pair]] += int(problem.load[pair])
        given_[problem.record[pair]] += 1
        totals[problem.level[pair]] += int(problem.value[pair])
    for record, count in enumerate(given_):
        if count != problem.demand[record]:
            if not problem.optional[record] or count:
                return None
            totals[0] += int(problem.skip_cost[record]) * (1 if problem.sense is Sense.MINIMISE else -1)
    if any(not problem.minimum_load[s] <= load <= problem.maximum_load[s] for s, load in enumerate(loads)):
        return None
    if any(problem.pinned[pair] and pair not in chosen for pair in range(problem.pairs)):
        return None
    return tuple(totals)
