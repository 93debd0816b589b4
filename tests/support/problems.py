"""Small assignment problems, and the definition of a best plan by trying all of them."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from reallot.solver.assignment import Contacts, Policy, Problem, Scope, Shares
from reallot.solver.timetables import Timetables

SCALE = 2**32
ORDERED = [policy for policy in Policy if policy is not Policy.EVEN_VALUE]
"""Policies that hand out units in an order."""
HANDLING = 10
"""Minutes that a record takes."""


@dataclass(frozen=True)
class Option:
    seller: int
    rank: int = 0
    bucket: int = 0
    fit: int = 0
    scope: int = 0
    cap: int | None = None


ORDERED = [policy for policy in Policy if policy is not Policy.EVEN_VALUE]
"""The policies that hand out units in an order, whatever the records are worth."""


def a_scope(
    turns: Sequence[int],
    policy: Policy = Policy.ROUND_ROBIN,
    free: Sequence[int] | None = None,
    priority: Sequence[int] | None = None,
    name: str = "rr",
    weight: Sequence[int] | None = None,
    given: Sequence[int] | None = None,
    carried: Sequence[int] | None = None,
    owned: Sequence[int] | None = None,
) -> Scope:
    """Sellers always work; see `test_contacts` for those who do not."""
    m = len(turns)
    columns = ((weight, 1), (given, 0), (carried, 0))
    shares = [np.array(column if column is not None else [default] * m, dtype=np.int64) for column, default in columns]
    standing: Shares | Contacts | None = None
    if policy is Policy.WEIGHTED_SHARES:
        standing = Shares(*shares, SCALE)
    elif policy is Policy.EARLIEST_FIRST_CONTACT:
        standing = Contacts(np.array(owned or [0] * m, dtype=np.int64), HANDLING * 60_000_000, Timetables.of([None] * m, 0))
    return Scope(
        name,
        policy,
        np.arange(m, dtype=np.int32),
        np.array(priority or [50] * m, dtype=np.int64),
        np.array(turns, dtype=np.int64),
        np.array(free if free is not None else [1000] * m, dtype=np.int64),
        standing,
    )


def a_problem(
    classes: Sequence[Sequence[Option]],
    class_of: Sequence[int],
    free: Sequence[int],
    scopes: Sequence[Scope] = (),
    parent: Sequence[int] | None = None,
    priority: Sequence[int] | None = None,
    age: Sequence[int] | None = None,
    effort: Sequence[int] | None = None,
    value: Sequence[int] = (),
) -> Problem:
    options = [option for kind in classes for option in kind]
    n = len(class_of)
    return Problem(
        class_of=np.array(class_of, dtype=np.int32),
        priority=np.array(priority or [50] * n, dtype=np.int64),
        age_us=np.array(age if age is not None else range(n), dtype=np.int64),
        key=np.arange(n, dtype=np.int64),
        effort=np.array(effort or [1] * len(classes), dtype=np.int64),
        option_start=np.cumsum([0, *(len(kind) for kind in classes)]).astype(np.int64),
        option_seller=np.array([o.seller for o in options], dtype=np.int32),
        option_rank=np.array([o.rank for o in options], dtype=np.int64),
        option_bucket=np.array([o.bucket for o in options], dtype=np.int64),
        option_fit=np.array([o.fit for o in options], dtype=np.int64),
        option_scope=np.array([o.scope for o in options], dtype=np.int32),
        option_cap=np.array([o.seller if o.cap is None else o.cap for o in options], dtype=np.int32),
        cap_free=np.array(free, dtype=np.int64),
        cap_parent=np.array(parent or [-1] * len(free), dtype=np.int32),
        scopes=tuple(scopes),
        value=np.array(value, dtype=np.int64),
    )


def hand_out(scope: Scope, units: int) -> list[int]:
    """The sequential rule, word for word: who gets each of the next units, alone and without maxima."""
    if isinstance(scope.standing, Shares):
        return list(itertools.islice(chairmen(scope), units))
    free, turn = scope.free.tolist(), scope.turn.tolist()
    before = scope.standing.owned.tolist() if isinstance(scope.standing, Contacts) else [0] * len(turn)
    clock, given = max([*turn, 0]) + 1, []
    levels = {
        Policy.ROUND_ROBIN: lambda i: 0,
        Policy.LOAD_BALANCING: lambda i: -free[i],
        Policy.EARLIEST_FIRST_CONTACT: lambda i: before[i],
    }
    level = levels[scope.policy]
    for _ in range(units):
        chosen = min(range(len(turn)), key=lambda i: (level(i), -int(scope.priority[i]), turn[i], i))
        given.append(chosen)
        free[chosen], before[chosen] = free[chosen] - 1, before[chosen] + 1
        turn[chosen], clock = clock, clock + 1
    return given


def chairmen(scope: Scope) -> Iterator[int]:
    """The quota-keeping sequence, word for word. Deviations that do not add up to nothing are taken from all in proportion."""
    shares = scope.standing
    assert isinstance(shares, Shares)
    weight, given, total = shares.weight.tolist(), shares.given.tolist(), int(shares.weight.sum())
    carried = [Fraction(c, shares.scale) for c in shares.carried.tolist()]
    least = Fraction(1, max(2 * len(weight) - 2, 2))
    while True:
        n = sum(given) + 1 - sum(carried)
        ahead = [n * w / total + c - g for w, c, g in zip(weight, carried, given, strict=True)]
        able = [i for i in range(len(weight)) if ahead[i] >= least]
        chosen = min(able, key=lambda i, ahead=ahead: ((1 - least - ahead[i]) * total / weight[i], -int(scope.priority[i]), i))
        given[chosen] += 1
        yield chosen


def position_costs(scope: Scope, most: int) -> list[list[int]]:
    """Cost of the first `most` units of each seller, from handing out units one by one.

    Round robin: the unit's place in the hand-out, a higher priority's whole hand-out lying before that of the next. Load balancing: the
    level at which the unit is taken, and the place in the hand-out among the units of that level. Shares: the place in the hand-out. First
    contact: the minute, and the place in the hand-out among the units of that minute.
    """
    sellers = range(len(scope.seller))
    if scope.policy is Policy.EARLIEST_FIRST_CONTACT:
        return _contact_costs(scope, most)
    if scope.policy is Policy.WEIGHTED_SHARES:
        places: list[list[int]] = [[] for _ in sellers]
        for place, seller in enumerate(chairmen(scope)):
            places[seller].append(place)
            if min(map(len, places)) >= most:
                return [own[:most] for own in places]
    if scope.policy is Policy.ROUND_ROBIN:
        costs: list[list[int]] = [[] for _ in sellers]
        before = 0
        for priority in sorted(set(scope.priority.tolist()), reverse=True):
            members = [i for i in sellers if scope.priority[i] == priority]
            alone = replace(scope, **{f: getattr(scope, f)[members] for f in ("seller", "priority", "turn", "free")})
            for place, member in enumerate(hand_out(alone, len(members) * most)):
                costs[members[member]].append(before + place)
            before += len(members) * (most + 1)
        return costs
    highest, lowest = max([0, *scope.free.tolist()]), min(scope.free.tolist())
    return _balanced_costs(scope, most, highest, lowest)


def _contact_costs(scope: Scope, most: int) -> list[list[int]]:
    assert isinstance(scope.standing, Contacts)
    m, before = len(scope.seller), scope.standing.owned.tolist()
    costs: list[list[int]] = [[] for _ in range(m)]
    seen = dict[int, int]()
    for seller in hand_out(scope, m * (max(before) + most)):
        minute = before[seller] * HANDLING
        costs[seller].append(minute * m + seen.get(minute, 0))
        seen[minute], before[seller] = seen.get(minute, 0) + 1, before[seller] + 1
    assert min(map(len, costs)) >= most
    return [own[:most] for own in costs]


def _balanced_costs(scope: Scope, most: int, highest: int, lowest: int) -> list[list[int]]:
    m = len(scope.seller)
    costs: list[list[int]] = [[] for _ in range(m)]
    at, seen = [highest - f for f in scope.free.tolist()], dict[int, int]()
    for seller in hand_out(scope, m * (highest - lowest + most)):
        if len(costs[seller]) < most:
            costs[seller].append(at[seller] * m + seen.get(at[seller], 0))
        seen[at[seller]] = seen.get(at[seller], 0) + 1
        at[seller] += 1
    return costs


def plans(problem: Problem) -> Iterator[tuple[int, ...]]:
    choices = [[-1, *range(int(problem.option_start[c]), int(problem.option_start[c + 1]))] for c in problem.class_of.tolist()]
    efforts = problem.effort[problem.class_of].tolist()
    for plan in itertools.product(*choices):
        load = [0] * len(problem.cap_free)
        for option, effort in zip(plan, efforts, strict=True):
            node = int(problem.option_cap[option]) if option >= 0 else -1
            while node >= 0:
                load[node] += effort
                node = int(problem.cap_parent[node])
        if all(used == 0 or used <= free for used, free in zip(load, problem.cap_free.tolist(), strict=True)):
            yield plan


LevelVector = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def level_vectors(problem: Problem) -> Callable[[Sequence[int]], LevelVector]:
    """What a plan is worth: left out by urgency, then rule order, availability and fit, then each scope; smaller is better."""
    keys = list(zip((-problem.priority).tolist(), problem.age_us.tolist(), strict=True))
    urgency = sorted(set(keys))
    costs = [position_costs(scope, problem.records) for scope in problem.scopes]

    def vector(plan: Sequence[int]) -> LevelVector:
        missing = [key for key, option in zip(keys, plan, strict=True) if option < 0]
        chosen = [option for option in plan if option >= 0]
        sums = tuple(int(column[chosen].sum()) for column in (problem.option_rank, problem.option_bucket, problem.option_fit))
        policies = []
        for index, own in enumerate(costs):
            units = [int(problem.option_seller[option]) for option in chosen if problem.option_scope[option] == index]
            policies.append(sum(sum(own[seller][: units.count(seller)]) for seller in set(units)))
        return tuple(missing.count(key) for key in urgency), sums, tuple(policies)

    return vector


@st.composite
def problems(draw: st.DrawFn, *, scopes: int = 1, nested: bool = True) -> Problem:
    sellers = draw(st.integers(1, 3))
    kinds = draw(st.integers(1, 3))
    records = draw(st.integers(0, 5))
    segments = 2 if nested else 0
    # Nodes: the sellers' totals first, then two segment caps for each seller.
    free = [draw(st.integers(-1, 3)) for _ in range(sellers)] + [draw(st.integers(0, 2)) for _ in range(sellers * segments)]
    parent = [-1] * sellers + [i // segments for i in range(sellers * segments)] if segments else [-1] * sellers

    def option(kind: int) -> Option:
        seller = draw(st.integers(0, sellers - 1))
        leaf = sellers + seller * segments + kind % segments if segments and draw(st.booleans()) else seller
        leaf = -1 if draw(st.integers(0, 5)) == 0 else leaf
        scope = draw(st.integers(0, scopes - 1))
        return Option(seller, draw(st.integers(0, 1)), draw(st.integers(0, 2)), draw(st.integers(0, 1)), scope, leaf)

    classes = [[option(kind) for _ in range(draw(st.integers(0, 4)))] for kind in range(kinds)]
    found = [
        a_scope(
            [draw(st.integers(0, 9)) for _ in range(sellers)],
            draw(st.sampled_from(ORDERED)),
            free=free[:sellers],
            priority=[draw(st.sampled_from([40, 50])) for _ in range(sellers)],
            name=f"s{index}",
            weight=[draw(st.integers(1, 9)) for _ in range(sellers)],
            given=[draw(st.integers(0, 3)) for _ in range(sellers)],
            carried=[draw(st.integers(-6, 6)) * (SCALE // 4) for _ in range(sellers)],
            owned=[draw(st.integers(0, 3)) for _ in range(sellers)],
        )
        for index in range(scopes)
    ]
    return a_problem(
        classes,
        [draw(st.integers(0, kinds - 1)) for _ in range(records)],
        free,
        found,
        parent,
        priority=[draw(st.sampled_from([20, 50, 80])) for _ in range(records)],
        age=[draw(st.integers(0, 3)) for _ in range(records)],
    )


def permuted(problem: Problem, order: Sequence[int]) -> Problem:
    taken = np.array(order, dtype=np.int64)
    return replace(
        problem,
        class_of=problem.class_of[taken],
        priority=problem.priority[taken],
        age_us=problem.age_us[taken],
        key=problem.key[taken],
    )
