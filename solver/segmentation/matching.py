"""Which sellers fit which records, for conditions over both.

A condition is evaluated once for every distinct combination of the record fields that it reads, against all sellers. Conjuncts
that concern one side only filter that side first; equalities between both sides become joins, alternative ones a union of joins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from reallot.solver.segmentation.condition import Condition, Conjunct
from reallot.solver.segmentation.errors import TooManyPairs
from reallot.solver.segmentation.lowering import NOW

MAX_PAIRS = 20_000_000
_COMBINATION, _SELLER = "#combination", "#seller"
Equality = tuple[str, str]
"""Column of the seller (or team or queue), record column."""


@dataclass(frozen=True)
class Matches:
    """Sellers by combination of record values.

    Attributes:
        combination_of: Combination of each record: int32, shape (records,).
        start: First position of each combination in `seller`: int64, shape (combinations + 1,).
        seller: Rows of the sellers frame that fit, ascending within a combination: int32.
    """

    combination_of: npt.NDArray[np.int32]
    start: npt.NDArray[np.int64]
    seller: npt.NDArray[np.int32]

    def sellers_of(self, combination: int) -> npt.NDArray[np.int32]:
        """Return the sellers that fit one combination."""
        return self.seller[self.start[combination] : self.start[combination + 1]]


def match_sellers(
    condition: Condition,
    records: pl.DataFrame,
    sellers: pl.DataFrame,
    *,
    now_us: int,
    max_pairs: int = MAX_PAIRS,
    beside: Sequence[str] = (),
    root: str = "seller",
) -> Matches:
    """Return the sellers, or teams or queues, that fit each record.

    Args:
        condition: Compiled over the roots "record" and `root`.
        records: Frame with a column for every record field that it reads.
        sellers: Frame with a column for every field of theirs that it reads.
        now_us: The present instant.
        max_pairs: Most pairs that are evaluated.
        beside: Further columns of the records' frame by which combinations differ.
        root: What conditions call them.

    Raises:
        TooManyPairs: there would be more.
    """
    names = sorted({*(f"record.{field}" for field in condition.fields("record")), *beside})
    combination_of, combinations = _combinations(records, names)
    candidates = sellers.with_row_index(_SELLER)
    moment = pl.lit(now_us, dtype=pl.Int64).alias(NOW)
    either: list[Conjunct] = []
    rest: list[pl.Expr] = []
    for conjunct in condition.conjuncts:
        if conjunct.roots <= {root}:
            candidates = candidates.with_columns(moment).filter(conjunct.column.fill_null(value=False))
        elif conjunct.roots == {"record"}:
            combinations = combinations.with_columns(moment).filter(conjunct.column.fill_null(value=False))
        elif conjunct.equalities:
            either.append(conjunct)
        else:
            rest.append(conjunct.column)
    keys, left = _join_keys(either)
    rest += left
    pairs = _pair(combinations, candidates, keys, max_pairs, names)
    for column in rest:
        pairs = pairs.with_columns(moment).filter(column.fill_null(value=False))
    ordered = pairs.select(_COMBINATION, _SELLER).sort(_COMBINATION, _SELLER)
    counts = np.bincount(ordered[_COMBINATION].to_numpy(), minlength=int(combination_of.max(initial=-1)) + 1)
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Matches(combination_of, start, ordered[_SELLER].to_numpy().astype(np.int32))


def _combinations(records: pl.DataFrame, names: list[str]) -> tuple[npt.NDArray[np.int32], pl.DataFrame]:
    if not names:
        combinations = pl.DataFrame({_COMBINATION: pl.Series([0], dtype=pl.UInt32)})
        return np.zeros(records.height, dtype=np.int32), combinations
    distinct = records.select(names).unique(maintain_order=True).with_row_index(_COMBINATION)
    numbered = records.select(names).join(distinct, on=names, how="left", nulls_equal=True, maintain_order="left")
    return numbered[_COMBINATION].to_numpy().astype(np.int32), distinct


def _join_keys(either: Sequence[Conjunct]) -> tuple[list[list[Equality]], list[pl.Expr]]:
    """Return keys of joins whose union holds all pairs, none for every pair, and what is to be asked of the pairs beside."""
    always = [conjunct.equalities[0] for conjunct in either if len(conjunct.equalities) == 1]
    several = [conjunct for conjunct in either if len(conjunct.equalities) > 1]
    if always:
        return [always], [conjunct.column for conjunct in several]
    return [[equality] for conjunct in several[:1] for equality in conjunct.equalities], [conjunct.column for conjunct in several[1:]]


def _pair(
    combinations: pl.DataFrame, sellers: pl.DataFrame, keys: Sequence[Sequence[Equality]], max_pairs: int, fields: Sequence[str]
) -> pl.DataFrame:
    combinations = combinations.drop(NOW, strict=False)
    sellers = sellers.drop(NOW, strict=False)
    if not keys:
        _guard(combinations.height * sellers.height, max_pairs, fields)
        return combinations.join(sellers, how="cross")
    found = []
    for joined in keys:
        seller_keys, record_keys = [s for s, _ in joined], [r for _, r in joined]
        weights = sellers.group_by(seller_keys).len().rename({"len": "#weight"})
        sizes = combinations.join(weights, left_on=record_keys, right_on=seller_keys, how="inner")
        _guard(int(sizes["#weight"].sum() or 0), max_pairs, fields)
        found.append(combinations.join(sellers, left_on=record_keys, right_on=seller_keys, how="inner", coalesce=False))
    return found[0] if len(found) == 1 else pl.concat(found).unique([_COMBINATION, _SELLER])


def _guard(pairs: int, limit: int, fields: Sequence[str]) -> None:
    if pairs > limit:
        raise TooManyPairs(tuple(fields), pairs, limit)


def match_listed(chosen: npt.NDArray[np.int32], records: pl.DataFrame, beside: Sequence[str], *, max_pairs: int = MAX_PAIRS) -> Matches:
    """Return rows of sellers, ascending, as those that fit every record; combinations differ by the columns `beside`.

    Raises:
        TooManyPairs: there would be more than `max_pairs`.
    """
    combination_of, _ = _combinations(records, sorted(beside))
    count = int(combination_of.max(initial=-1)) + 1 if beside else 1
    _guard(count * len(chosen), max_pairs, sorted(beside))
    return Matches(combination_of, np.arange(count + 1, dtype=np.int64) * len(chosen), np.tile(chosen, count))


def only(matches: Matches, kept: npt.NDArray[np.bool_]) -> Matches:
    """Return the pairs that are kept: bool, one for each pair."""
    counted = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
    return Matches(matches.combination_of, counted[matches.start], matches.seller[kept])


def over_pairs(
    columns: Sequence[tuple[pl.Expr, Sequence[str]]], records: pl.DataFrame, sellers: pl.DataFrame, matches: Matches, *, now_us: int
) -> list[pl.Series]:
    """Return values of each pair of a combination and a seller; every column comes with the names of those that it reads."""
    first = np.zeros(len(matches.start) - 1, dtype=np.int64)
    first[matches.combination_of[::-1]] = np.arange(records.height)[::-1]
    row = np.repeat(first, np.diff(matches.start))
    needed = {name for _, names in columns for name in names}
    sides = ((records, row), (sellers, matches.seller))
    taken = [frame[name].gather(place) for frame, place in sides for name in frame.columns if name in needed]
    pairs = pl.DataFrame([*taken, pl.Series(NOW, np.full(len(row), now_us, dtype=np.int64))])
    # A column of constants has one row: broadcast it over the pairs.
    answers = pairs.with_columns(column.alias(f"#{index}") for index, (column, _) in enumerate(columns))
    return [answers[f"#{index}"] for index in range(len(columns))]
