"""Teams and queues as the takers of a rule: who matches which records, and who of several is drawn. Pure.

Beside the sellers of a pool stand its groups, at the places behind theirs. Nothing limits what a group owns, so in the problem it is a
taker without maximum and without policy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import polars as pl

from reallot.server.group_config import GroupTarget
from reallot.server.road.fitting import NO_SCORE
from reallot.server.road.pool import Pool
from reallot.server.road.reasons import RuleTrace
from reallot.server.workspace_config import RuleConfig
from reallot.solver.assignment.problem import Ints
from reallot.solver.calendars import UNAVAILABLE
from reallot.solver.segmentation import Matches, match_listed, match_sellers

NOBODY, UNDECIDED = -1, -2
"""What stands for a group where none matches, and where several do of which none is chosen."""
MOST_SHOWN = 20


@dataclass(frozen=True)
class GroupTargets:
    """One rule that gives to teams or queues, over the candidates of its segment.

    Attributes:
        rule: The rule.
        matches: The groups that match, by combination; combinations differ by what is drawn, too.
        taker: Place in the pool of the group that takes the records of each combination, or NOBODY or UNDECIDED.
        pool: The sellers and groups.
    """

    rule: RuleConfig
    matches: Matches
    taker: Sequence[int]
    pool: Pool

    @property
    def widest(self) -> int:
        """It does not look at availability."""
        return UNAVAILABLE

    def trace(self, combination: int) -> RuleTrace:
        """Return what the rule makes of one combination."""
        kind, taker = self.rule.group.kind.upper() if self.rule.group else "", self.taker[combination]
        status = {NOBODY: f"NO_{kind}", UNDECIDED: f"SEVERAL_{kind}S"}.get(taker, "ASSIGNED")
        shown = self.matches.sellers_of(combination)[:MOST_SHOWN].tolist()
        return RuleTrace(self.rule.key, status, {}, tuple(self.pool.owner_at(place) for place in shown))

    def options(self, combination: int, rank: int, scope: Callable[[Ints, Ints], Ints], leaves: Ints) -> Ints:
        """Return one combination's options as the columns of `RuleTargets.options`: one, or none."""
        taker = self.taker[combination]
        rows = [[taker, rank, 0, NO_SCORE, -1, -1, 0]] if taker >= 0 else []
        return np.array(rows, dtype=np.int64).reshape(-1, 7)


def group_targets(
    rule: RuleConfig, target: GroupTarget, pool: Pool, records: pl.DataFrame, names: Sequence[str], now_us: int, seed: int
) -> GroupTargets:
    """Return a rule's groups over records, for each of which its name draws one of several.

    Raises:
        TooManyPairs: more pairs than allowed would have to be looked at.
    """
    places = np.array(pool.groups_of(target.kind), dtype=np.int32)
    if target.condition is not None:
        found = match_sellers(target.condition, records, pool.group_frame(target.kind), now_us=now_us, root=target.kind)
        matches = Matches(found.combination_of, found.start, places[found.seller])
    else:
        listed = [place for place in places.tolist() if pool.owner_at(place).id in target.listed]
        matches = match_listed(np.array(listed, dtype=np.int32), records, ())
    several = np.diff(matches.start) > 1
    takers = np.where(np.diff(matches.start) == 0, NOBODY, UNDECIDED)
    if len(matches.seller):
        takers = np.where(np.diff(matches.start) == 1, matches.seller[np.minimum(matches.start[:-1], len(matches.seller) - 1)], takers)
    taker = takers[matches.combination_of]
    if target.at_random:
        for row in np.flatnonzero(several[matches.combination_of]).tolist():
            among = matches.sellers_of(int(matches.combination_of[row]))
            taker[row] = among[_drawn(f"{seed}\n{names[row]}", len(among))]
    return _by_taker(rule, matches, taker, pool)


def _drawn(what: str, count: int) -> int:
    """Return a number below `count`, the same for the same text, and any alike for different ones."""
    return int.from_bytes(blake2b(what.encode(), digest_size=8).digest()) % count


def _by_taker(rule: RuleConfig, matches: Matches, taker: npt.NDArray[np.int64], pool: Pool) -> GroupTargets:
    kinds, kind_of = np.unique(np.column_stack([matches.combination_of, taker]), axis=0, return_inverse=True)
    members = [matches.sellers_of(combination) for combination in kinds[:, 0].tolist()]
    start = np.concatenate([[0], np.cumsum([len(part) for part in members])]).astype(np.int64)
    seller = np.concatenate(members) if members else np.zeros(0, dtype=np.int32)
    return GroupTargets(rule, Matches(kind_of.reshape(-1).astype(np.int32), start, seller), kinds[:, 1].tolist(), pool)
