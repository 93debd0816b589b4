"""How well sellers fit records by one rule: who fits at all, and what the fit costs. Pure.

The cost of a pair is a score in fixed point, which the problem turns round, and what the pair misses: going on with whoever the
record belongs to, being preferred.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from reallot.server.road.traits import ASKED, FORMER, KEEPER, OWNER
from reallot.server.workspace_config import RuleConfig
from reallot.solver.assignment.problem import LARGEST_COST, Ints
from reallot.solver.segmentation import Matches, match_listed, match_sellers, only, over_pairs
from reallot.v1 import segment_pb2

SELLER = "seller.seller_id"
POINTS = 10**6
"""Steps of one in a score."""
LARGEST_SCORE = 10**9
NO_SCORE, SCORE_UNKNOWN = 2**62, -(2**62)
"""What stands for a score where a rule has none, and where the rule's score has no value."""
MISSES_PREFERRED, MISSES_CONTINUITY = 1, 2


@dataclass(frozen=True)
class Fit:
    """The pairs of one rule.

    Attributes:
        matches: Who fits.
        score: Score of each pair: int64.
        misses: What each pair misses: int64, a sum of MISSES_*.
        asked: The seller had an offer of the record that has ended: bool.
    """

    matches: Matches
    score: Ints
    misses: Ints
    asked: npt.NDArray[np.bool_]


def fit_of(rule: RuleConfig, listed: Callable[[], npt.NDArray[np.int32]], records: pl.DataFrame, sellers: pl.DataFrame, now_us: int) -> Fit:
    """Return the pairs of a rule; `listed` gives the sellers of a target that is no condition.

    Raises:
        TooManyPairs: more pairs than allowed would have to be looked at.
    """
    beside = [*_columns_beside(rule), *({ASKED} & set(records.columns))]
    if rule.target is not None:
        matches = match_sellers(rule.target, records, sellers, now_us=now_us, beside=beside)
    else:
        matches = match_listed(listed(), records, beside)
    allowed = _allowed(rule)
    if allowed:
        (kept,) = over_pairs([allowed[0]], records, sellers, matches, now_us=now_us)
        matches = only(matches, kept.fill_null(value=False).to_numpy().astype(np.bool_))
    return Fit(matches, *_costs(rule, records, sellers, matches, now_us), _asked(records, sellers, matches, now_us))


def _asked(records: pl.DataFrame, sellers: pl.DataFrame, matches: Matches, now_us: int) -> npt.NDArray[np.bool_]:
    if ASKED not in records.columns or not (records[ASKED] != "").any():
        return np.zeros(len(matches.seller), dtype=np.bool_)
    (asked,) = over_pairs([_names_the_seller(ASKED)], records, sellers, matches, now_us=now_us)
    return asked.fill_null(value=False).to_numpy().astype(np.bool_)


def _names_the_seller(column: str) -> "Asked":
    """Return whether a column of ids, each between line breaks, names the seller."""
    name = pl.concat_str(pl.lit("\n"), pl.col(SELLER), pl.lit("\n"))
    return pl.col(column).str.contains(name, literal=True), [column, SELLER]


def _columns_beside(rule: RuleConfig) -> set[str]:
    names = {f"record.{name}" for asked in (rule.preferred, rule.conflict, rule.score) if asked for name in asked.fields("record")}
    if rule.message.policy == segment_pb2.POLICY_CHEAPEST_CHANGE:
        names.add(OWNER)
    if rule.message.exclusions.previous_owners:
        names.add(FORMER)
    if rule.message.HasField("sticky"):
        names.add(f"{KEEPER}{rule.message.sticky.by}")
    return names


Asked = tuple[pl.Expr, list[str]]
"""A column and the names of those that it reads."""


def _reads(asked: object) -> list[str]:
    return [f"{root}.{name}" for root, name in asked.reads]  # type: ignore[attr-defined]


def _allowed(rule: RuleConfig) -> list[Asked]:
    """Return who is not ruled out, as one column; nothing where nobody can be."""
    columns: list[Asked] = []
    if rule.conflict is not None:
        columns.append((~rule.conflict.column.fill_null(value=False), _reads(rule.conflict)))
    if rule.message.exclusions.previous_owners:
        named, reads = _names_the_seller(FORMER)
        columns.append((~named, reads))
    if rule.message.sticky.required:
        keeper = f"{KEEPER}{rule.message.sticky.by}"
        columns.append((pl.col(keeper).is_null() | (pl.col(keeper) == pl.col(SELLER)), [keeper, SELLER]))
    if not columns:
        return []
    return [(pl.all_horizontal([column for column, _ in columns]), [name for _, names in columns for name in names])]


def _goes_on(rule: RuleConfig) -> Asked | None:
    """Return with whom a record goes on as long as it can, as a column; None if that is nobody's concern."""
    names = [OWNER] if rule.message.policy == segment_pb2.POLICY_CHEAPEST_CHANGE else []
    names += [f"{KEEPER}{rule.message.sticky.by}"] if rule.message.HasField("sticky") else []
    if not names:
        return None
    misses = [(pl.col(name) != pl.col(SELLER)).fill_null(value=False) for name in names]
    return pl.any_horizontal(misses), [*names, SELLER]


def _costs(rule: RuleConfig, records: pl.DataFrame, sellers: pl.DataFrame, matches: Matches, now_us: int) -> tuple[Ints, Ints]:
    pairs = len(matches.seller)
    score, misses = np.full(pairs, NO_SCORE, dtype=np.int64), np.zeros(pairs, dtype=np.int64)
    asked: list[Asked] = []
    if (leaves := _goes_on(rule)) is not None:
        asked.append(leaves)
    if rule.preferred is not None:
        asked.append((rule.preferred.column.fill_null(value=False), _reads(rule.preferred)))
    if rule.score is not None:
        asked.append((rule.score.column, _reads(rule.score)))
    if not asked:
        return score, misses
    values = over_pairs(asked, records, sellers, matches, now_us=now_us)
    if leaves is not None:
        misses += np.where(values.pop(0).to_numpy().astype(np.bool_), MISSES_CONTINUITY, 0)
    if rule.preferred is not None:
        misses += np.where(values.pop(0).to_numpy().astype(np.bool_), 0, MISSES_PREFERRED)
    if rule.score is not None:
        score = _in_points(values.pop(0).cast(pl.Float64).to_numpy().astype(np.float64))
    return score, misses


def _in_points(values: npt.NDArray[np.float64]) -> Ints:
    known = np.isfinite(values)
    points = np.rint(np.clip(np.where(known, values, 0.0), -LARGEST_SCORE, LARGEST_SCORE) * POINTS).astype(np.int64)
    return np.where(known, points, SCORE_UNKNOWN)


def fit_costs(score: Ints) -> Ints:
    """Return what scores cost: the best of all nothing, an unknown one more than the worst, and nothing where there is no score."""
    scored = score != NO_SCORE
    known = scored & (score != SCORE_UNKNOWN)
    if not scored.any():
        return np.zeros(len(score), dtype=np.int64)
    best, worst = (int(score[known].max()), int(score[known].min())) if known.any() else (0, 0)
    # Differences that do not fit are told apart in coarser steps.
    step = -(-(best - worst + 1) // LARGEST_COST)
    costs = np.where(known, (best - np.where(known, score, best)) // step, (best - worst) // step + 1)
    return np.where(scored, costs, 0).astype(np.int64)
