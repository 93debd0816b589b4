"""Worth of a slot against re-solving with one more, and certificates against leaving out each member."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.solver.assignment import Policy, Problem, Solution, solve
from reallot.solver.assignment.answers import Blocking, NotProven, alone, blocking, holds, instead, worth
from support.cases import cases
from support.problems import Option, a_problem, a_scope, problems


def with_more_levels(problem: Problem, data: st.DataObject) -> Problem:
    """Also with continuity and preference, and fits of any size."""

    def column(most: int) -> np.ndarray:  # type: ignore[type-arg]
        drawn = data.draw(st.lists(st.integers(0, most), min_size=problem.options, max_size=problem.options))
        return np.array(drawn, dtype=np.int64)

    fits = data.draw(st.sampled_from([1, 9, 2**40]))
    return replace(problem, option_continuity=column(1), option_preferred=column(1), option_fit=column(fits))


def values(solution: Solution, names: tuple[str, ...]) -> list[int]:
    by_name = {level.level_id: level.value for level in solution.levels}
    return [by_name[name] for name in names]


def assert_worth_is_the_difference(problem: Problem, nodes: Iterable[int]) -> None:
    solution = solve(problem)
    found = worth(problem, solution)
    before = np.array(values(solution, found.level_ids))
    for node in nodes:
        roomier = problem.cap_free.copy()
        roomier[node] += 1
        after = np.array(values(solve(replace(problem, cap_free=roomier)), found.level_ids))
        assert (after - before).tolist() == found.changes[node].tolist(), node


@settings(max_examples=cases(320), deadline=None)
@given(problem=problems(scopes=2), data=st.data())
def test_worth_is_what_solving_with_one_more_slot_gives(problem: Problem, data: st.DataObject) -> None:
    nodes = data.draw(st.permutations(range(len(problem.cap_free))))[:3]
    assert_worth_is_the_difference(with_more_levels(problem, data), nodes)


def test_worth_on_crowded_problems_with_nested_maxima() -> None:
    chance = np.random.default_rng(11)
    sellers, kinds, records = 6, 8, 20
    for _ in range(12):
        free = [*chance.integers(0, 4, sellers).tolist(), *chance.integers(0, 3, 2 * sellers).tolist()]

        def option(seller: int, kind: int) -> Option:
            rank, bucket, fit = chance.integers(3, size=3).tolist()
            return Option(seller, rank, bucket, fit, -1, sellers + 2 * seller + kind % 2)

        classes = [[option(s, kind) for s in chance.choice(sellers, 3, replace=False).tolist()] for kind in range(kinds)]
        problem = a_problem(
            classes,
            chance.integers(0, kinds, records).tolist(),
            free,
            parent=[-1] * sellers + [s for s in range(sellers) for _ in range(2)],
            priority=chance.choice([20, 50, 80], records).tolist(),
            age=chance.integers(0, 9, records).tolist(),
        )
        assert_worth_is_the_difference(problem, range(len(problem.cap_free)))


def test_a_slot_in_a_full_seller_changes_who_is_covered() -> None:
    """One more slot of the inner maximum lets the urgent record displace the other one; the seller's total stays full."""
    problem = a_problem([[Option(0, scope=-1, cap=1)], [Option(0, scope=-1, cap=0)]], [0, 1], [1, 0], parent=[-1, 0], priority=[80, 20])
    found = worth(problem, solve(problem))
    assert found.level_ids[:2] == ("coverage:80", "coverage:20")
    assert found.changes[:, :2].tolist() == [[0, 0], [-1, 1]]


def test_other_efforts_have_no_exact_worth() -> None:
    problem = a_problem([[Option(0, scope=-1)]], [0, 0], [1], effort=[2])
    with pytest.raises(NotProven, match="effort"):
        worth(problem, solve(problem))


def all_can_be_served(problem: Problem, records: list[int], nodes: set[int] | None) -> bool:
    """Whether these records can all be served, by augmenting paths; `nodes` are the maxima that count, None = all."""
    free = [max(0, int(f)) for f in problem.cap_free]
    given_: dict[int, int] = {}

    def path(option: int) -> list[int]:
        node, found = int(problem.option_cap[option]), []
        while node >= 0:
            found.append(node)
            node = int(problem.cap_parent[node])
        return [n for n in found if nodes is None or n in nodes]

    def serve(rest: list[int]) -> bool:
        if not rest:
            return True
        kind = int(problem.class_of[rest[0]])
        for option in range(int(problem.option_start[kind]), int(problem.option_start[kind + 1])):
            way = path(option)
            if all(free[n] > 0 for n in way):
                for n in way:
                    free[n] -= 1
                given_[rest[0]] = option
                if serve(rest[1:]):
                    return True
                for n in way:
                    free[n] += 1
        return False

    return serve(records)


@settings(max_examples=cases(150), deadline=None)
@given(problem=problems(scopes=2))
def test_a_certificate_proves_that_a_record_cannot_be_served_and_has_no_member_too_many(problem: Problem) -> None:
    solution = solve(problem)
    for record in np.flatnonzero(~solution.assigned).tolist():
        found = blocking(problem, solution, record)
        assert record in found.records
        assert holds(problem, found)
        records, nodes = found.records.tolist(), set(found.nodes.tolist())
        assert not all_can_be_served(problem, records, nodes)
        for other in records:
            assert all_can_be_served(problem, [r for r in records if r != other], None)
            assert not holds(problem, Blocking(np.array([r for r in records if r != other], dtype=np.int64), found.nodes))
        for node in nodes:
            assert all_can_be_served(problem, records, nodes - {node})
        # Nobody in the way is less urgent.
        assert (problem.weights()[found.records] >= problem.weights()[record]).all()


def test_who_is_served_has_nothing_in_the_way() -> None:
    problem = a_problem([[Option(0, scope=-1)]], [0], [1])
    with pytest.raises(ValueError, match="not left out"):
        blocking(problem, solve(problem), 0)


@settings(max_examples=cases(120), deadline=None)
@given(problem=problems(nested=False), data=st.data())
def test_what_it_takes_to_go_elsewhere_is_enough_and_nothing_of_it_too_much(problem: Problem, data: st.DataObject) -> None:
    able = [r for r in range(problem.records) if problem.option_start[problem.class_of[r]] < problem.option_start[problem.class_of[r] + 1]]
    if not able:
        return
    record = data.draw(st.sampled_from(able))
    problem, first = alone(problem, record)
    option = data.draw(st.integers(first, problem.options - 1))
    found, plan = instead(problem, record, option), solve(problem)
    taken = int(plan.option_of[record])
    goes_there = taken >= 0 and problem.option_seller[taken] == problem.option_seller[option]
    # Where nothing is known that helps, there is no change, and nothing is claimed.
    assert goes_there == (found.verified and not found.changes)
    if not found.changes:
        return
    slots = [c for c in found.changes if c.kind == "slot"]
    if taken < 0:
        # Whoever has nobody lacks slots first of all.
        assert found.changes[0].kind == "slot"
    if found.verified and slots == list(found.changes):
        free = problem.cap_free.copy()
        for change in slots:
            free[change.node] += change.amount
        roomier = replace(problem, cap_free=free)
        assert roomier.option_seller[solve(roomier).option_of[record]] == problem.option_seller[option]
    if found.verified and len(slots) == len(found.changes) == 1 and problem.cap_free[slots[0].node] >= 0:
        free[slots[0].node] -= 1
        taken = int(solve(replace(problem, cap_free=free)).option_of[record])
        assert taken < 0 or problem.option_seller[taken] != problem.option_seller[option]


def test_what_it_takes_is_told_level_by_level() -> None:
    """The other seller is the younger of a worse rule, worth less, and was served last."""
    kinds = [[Option(0, 0, 0, 2), Option(1, 1, 0, 7)]]
    problem, first = alone(a_problem(kinds, [0], [1, 0], [a_scope([1, 9])]), 0)
    found = instead(problem, 0, first + 1)
    told = [(c.kind, c.level_id, c.amount, c.rival) for c in found.changes]
    assert told == [
        ("slot", "", 1, 0),
        ("level", "rule_order", 1, 0),
        ("level", "fit", 5, 0),
        ("turn", "policy:rr", 0, 0),
    ]
    assert found.verified


def test_under_load_balancing_it_takes_more_room() -> None:
    problem, first = alone(a_problem([[Option(0), Option(1)]], [0], [5, 2], [a_scope([1, 9], Policy.LOAD_BALANCING, free=[5, 2])]), 0)
    found = instead(problem, 0, first + 1)
    assert [(c.kind, c.amount) for c in found.changes] == [("free", 3), ("turn", 0)]
    assert found.verified
