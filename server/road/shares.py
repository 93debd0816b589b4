"""Rules that give by shares: among whom they give at present, and from which pool each record of a plan is given. Pure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from reallot.server.road.pool import Pool
from reallot.solver.assignment import Holdings, Problem, Shares
from reallot.solver.assignment.problem import LARGEST_HELD, Ints
from reallot.solver.calendars import UNAVAILABLE
from reallot.storage.shares import SCALE, ShareAccount, SharePool

if TYPE_CHECKING:
    from reallot.server.road.plan import RuleTargets

LARGEST_VALUE = 2**40
"""A record of more value counts as one of so much, where value is to be even."""


class ShareBooks:
    """The accounts of the rules of one batch, as they stand before it. Belongs to one thread.

    Attributes:
        rule_of: Rule by scope, of the scopes of shares.
        absent: Sellers of each rule's account who cannot be given anything by it at present.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._accounts: dict[str, ShareAccount] = {}
        self._room: dict[str, npt.NDArray[np.bool_]] = {}
        self._valued: dict[str, bool] = {}
        self.rule_of: dict[int, str] = {}
        self.absent: dict[str, tuple[str, ...]] = {}

    def open(self, target: "RuleTargets", room: npt.NDArray[np.bool_]) -> None:
        """Open a rule's account without those who are absent; `room`: who has room for one more record, bool, shape (m,)."""
        key, pool = target.rule.key, self._pool
        able = room & pool.assignable & pool.roles_ok & pool.responds
        if target.widest < UNAVAILABLE:
            able &= pool.bucket <= target.widest
            if able.any():
                able &= pool.bucket == pool.bucket[able].min()
        if not target.rule.fits_by_record:
            # Whom the target fits does not depend on the record, so whoever it does not fit at present has left.
            fits = np.zeros(len(able), dtype=np.bool_)
            fits[target.matches.seller] = True
            able &= fits
        self._valued[key] = target.rule.evens_value
        account = ShareAccount(key, [row for row in pool.shares if row.rule_id == key], self.scale_of(key))
        there = {pool.sellers[place].seller_id for place in np.flatnonzero(able).tolist()}
        self.absent[key] = tuple(sorted(set(account.rows) - there))
        account.drop(self.absent[key])
        self._accounts[key], self._room[key] = account, room

    def has_room(self, rule_id: str, seller: Ints) -> npt.NDArray[np.bool_]:
        """Tell which sellers have room for one more record by the rule: bool, shape (len(seller),)."""
        return self._room[rule_id][seller]

    def scale_of(self, rule_id: str) -> int:
        """Return what one unit of what a rule shares out is in what is carried over."""
        return 1 if self._valued[rule_id] else SCALE

    def members_of(self, rule_id: str, seller: Ints) -> tuple[tuple[str, int], ...]:
        """Return sellers, given by their places in ascending order, with their weights; values are shared out evenly."""
        pool, valued = self._pool, self._valued[rule_id]
        return tuple((pool.sellers[place].seller_id, 1 if valued else int(pool.weight[place])) for place in seller.tolist())

    def standing_of(self, scope: int, seller: Ints) -> Shares | Holdings:
        """Return how some sellers stand in a scope, if these are the pool."""
        rule_id = self.rule_of[scope]
        present = ShareAccount(rule_id, list(self._accounts[rule_id].rows.values()), self.scale_of(rule_id))
        weights = self.members_of(rule_id, seller)
        present.enter(dict(weights))
        rows = [present.rows[seller_id] for seller_id, _ in weights]
        columns = np.array([row[2:] for row in rows], dtype=np.int64).reshape(-1, 3)
        if self._valued[rule_id]:
            # What is due is the same for all.
            return Holdings(np.clip(columns[:, 1] - columns[:, 2], -LARGEST_HELD, LARGEST_HELD))
        return Shares(columns[:, 0], columns[:, 1], columns[:, 2], SCALE)


def counted_value(value: int) -> int:
    """Return the value of a record as far as it is counted."""
    return max(-LARGEST_VALUE, min(value, LARGEST_VALUE))


@dataclass(frozen=True)
class Shared:
    """What of a plan is given by shares.

    Attributes:
        pools: The pools.
        pool_of: Pool of each record of the problem, -1 = none: int64, shape (n,).
    """

    pools: tuple[SharePool, ...]
    pool_of: Ints


def shared_out(books: ShareBooks, pool: Pool, problem: Problem, option_of: Ints) -> Shared:
    """Return from which pool each record is given: the sellers who were open to it by the same rule, equally soon."""
    pool_of = np.full(problem.records, -1, dtype=np.int64)
    given = np.flatnonzero(option_of >= 0)
    scope = problem.option_scope[option_of[given]].astype(np.int64)
    counted = np.isin(scope, list(books.rule_of))
    given, scope = given[counted], scope[counted]
    if not len(given):
        return Shared((), pool_of)
    kinds, kind_of = np.unique(
        np.column_stack([problem.class_of[given], problem.option_rank[option_of[given]], scope]), axis=0, return_inverse=True
    )
    full = _full(problem, option_of)
    found: dict[SharePool, int] = {}
    for index, (kind, rank, number) in enumerate(kinds.tolist()):
        options = np.arange(problem.option_start[kind], problem.option_start[kind + 1])
        own = options[(problem.option_rank[options] == rank) & (problem.option_scope[options] == number)]
        # Whoever passes the maxima is never full.
        left = own[(problem.option_cap[own] >= 0) & full[problem.option_cap[own]]] if len(full) else own[:0]
        names = (pool.sellers[place].seller_id for place in np.unique(problem.option_seller[left]).tolist())
        rule_id = books.rule_of[number]
        members = books.members_of(rule_id, np.unique(problem.option_seller[own]).astype(np.int64))
        made = SharePool(rule_id, members, books.absent[rule_id], tuple(names), books.scale_of(rule_id))
        pool_of[given[kind_of.reshape(-1) == index]] = found.setdefault(made, len(found))
    return Shared(tuple(found), pool_of)


def _full(problem: Problem, option_of: Ints) -> npt.NDArray[np.bool_]:
    """Return which capacity nodes, or nodes around them, have no room left after a plan: bool, shape (c,)."""
    left = problem.cap_free.copy()
    chosen = np.flatnonzero(option_of >= 0)
    node, effort = problem.option_cap[option_of[chosen]].astype(np.int64), problem.effort[problem.class_of[chosen]]
    while (inside := node >= 0).any():
        np.subtract.at(left, node[inside], effort[inside])
        node = np.where(inside, problem.cap_parent[node], -1)
    full = left <= 0
    node = problem.cap_parent.astype(np.int64)
    while (inside := node >= 0).any():
        full[inside] |= left[node[inside]] <= 0
        node = np.where(inside, problem.cap_parent[node], -1)
    return full
