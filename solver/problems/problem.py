"""A problem of the caller's own, as columns: records, sellers and the pairs that may be chosen."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

UNLIMITED = 2**62
"""A maximum that binds nobody."""
LARGEST = 2**40
"""Most that a value (either sign), a skip cost or a load may be."""
LARGEST_SUM = 2**60
"""Most that all of a column may add up to, in absolute terms: no sum over any plan comes near an overflow."""
MOST_LEVELS = 16


class InvalidProblem(ValueError):
    """A problem that cannot be understood. `field` is the column with the position of the item, the text says what is wrong."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field
        self.text = text


class Sense(enum.StrEnum):
    """Better is less or more."""

    MINIMISE = "MINIMISE"
    MAXIMISE = "MAXIMISE"


@dataclass(frozen=True)
class Problem:
    """What is to be decided; made by `problem_of`. n records, m sellers, p pairs.

    A record needs `demand` different sellers. An optional one has all of them or none, and then costs `skip_cost`.

    Attributes:
        record_ids, seller_ids: Names; empty = the positions.
        demand: Sellers that each record needs: int64, shape (n,).
        optional: May stay out: bool, shape (n,).
        skip_cost: Cost of staying out, at level 0: int64, shape (n,).
        minimum_load, maximum_load: int64, shape (m,); `UNLIMITED` = no maximum.
        record, seller: Positions: int32, shape (p,), each pair once.
        value: What choosing the pair is worth or costs, at its level: int64, shape (p,).
        load: Load on the seller: int64, shape (p,).
        level: Level of the value, 0 first: int64, shape (p,).
        pinned: Must be chosen: bool, shape (p,).
        hint: May be part of a good plan: bool, shape (p,).
        sense: Better is less or more.
    """

    record_ids: tuple[str, ...]
    seller_ids: tuple[str, ...]
    demand: Ints
    optional: Flags
    skip_cost: Ints
    minimum_load: Ints
    maximum_load: Ints
    record: npt.NDArray[np.int32]
    seller: npt.NDArray[np.int32]
    value: Ints
    load: Ints
    level: Ints
    pinned: Flags
    hint: Flags
    sense: Sense = Sense.MINIMISE

    @property
    def records(self) -> int:
        """Number of records."""
        return len(self.demand)

    @property
    def sellers(self) -> int:
        """Number of sellers."""
        return len(self.minimum_load)

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return len(self.record)

    @property
    def levels(self) -> int:
        """Number of levels, at least 1."""
        return int(self.level.max(initial=0)) + 1

    def record_name(self, position: int) -> str:
        """Return how a record is named to people."""
        return f"record {self.record_ids[position] if self.record_ids else position}"

    def seller_name(self, position: int) -> str:
        """Return how a seller is named to people."""
        return f"seller {self.seller_ids[position] if self.seller_ids else position}"


def problem_of(
    *,
    records: int,
    sellers: int,
    record: Any,
    seller: Any,
    value: Any = (),
    load: Any = (),
    level: Any = (),
    pinned: Any = (),
    hint: Any = (),
    demand: Any = (),
    effort: Any = (),
    optional: Any = (),
    skip_cost: Any = (),
    minimum_load: Any = (),
    maximum_load: Any = (),
    record_ids: Sequence[str] = (),
    seller_ids: Sequence[str] = (),
    sense: Sense = Sense.MINIMISE,
) -> Problem:
    """Return a problem from columns; an empty column stands for its default throughout.

    Columns are sequences or arrays of whole numbers. A pair's load is the record's effort where `load` is empty.

    Raises:
        InvalidProblem: a column has the wrong length; a number is no whole one, NaN or outside its range; a pair names a record or
            seller that does not exist, or stands twice; names stand twice.
    """
    _check_names("records.record_ids", record_ids, records)
    _check_names("sellers.seller_ids", seller_ids, sellers)
    pairs = len(record)
    of_record = _whole("pairs.record", record, pairs, 0, 0, records - 1).astype(np.int32)
    of_seller = _whole("pairs.seller", seller, pairs, 0, 0, sellers - 1).astype(np.int32)
    efforts = _whole("records.effort", effort, records, 1, 0, LARGEST)
    made = Problem(
        record_ids=tuple(record_ids),
        seller_ids=tuple(seller_ids),
        demand=_whole("records.demand", demand, records, 1, 0, np.iinfo(np.int32).max),
        optional=_flags("records.optional", optional, records),
        skip_cost=_whole("records.skip_cost", skip_cost, records, 0, -LARGEST, LARGEST),
        minimum_load=_whole("sellers.minimum_load", minimum_load, sellers, 0, 0, UNLIMITED),
        maximum_load=_whole("sellers.maximum_load", maximum_load, sellers, UNLIMITED, 0, UNLIMITED),
        record=of_record,
        seller=of_seller,
        value=_whole("pairs.value", value, pairs, 0, -LARGEST, LARGEST),
        load=_whole("pairs.load", load, pairs, 0, 0, LARGEST) if len(load) else efforts[of_record],
        level=_whole("pairs.level", level, pairs, 0, 0, MOST_LEVELS - 1),
        pinned=_flags("pairs.pinned", pinned, pairs),
        hint=_flags("pairs.hint", hint, pairs),
        sense=sense,
    )
    _check_pairs(made)
    for field, column in (("pairs.value", made.value), ("pairs.load", made.load), ("records.skip_cost", made.skip_cost)):
        if float(np.abs(column).sum(dtype=np.float64)) > LARGEST_SUM:
            raise InvalidProblem(field, f"the numbers add up to more than {LARGEST_SUM}")
    return made


def _check_names(field: str, names: Sequence[str], rows: int) -> None:
    if not names:
        return
    if len(names) != rows:
        raise InvalidProblem(field, f"has {len(names)} rows, expected {rows}")
    seen: set[str] = set()
    for position, name in enumerate(names):
        if name in seen:
            raise InvalidProblem(f"{field}[{position}]", f"{name!r} stands twice")
        seen.add(name)


def _check_pairs(problem: Problem) -> None:
    key = problem.record.astype(np.int64) * max(problem.sellers, 1) + problem.seller
    order = np.argsort(key, kind="stable")
    twice = np.flatnonzero(key[order][1:] == key[order][:-1])
    if len(twice):
        position = int(order[twice[0] + 1])
        names = f"{problem.record_name(int(problem.record[position]))} and {problem.seller_name(int(problem.seller[position]))}"
        raise InvalidProblem(f"pairs[{position}]", f"{names} stand twice")


def _column(field: str, column: Any, rows: int) -> npt.NDArray[Any]:
    try:
        found = np.asarray(column)
    except (OverflowError, ValueError) as error:
        raise InvalidProblem(field, f"is no column of numbers: {error}") from None
    if found.ndim != 1 or len(found) != rows:
        raise InvalidProblem(field, f"has {len(found) if found.ndim else 0} rows, expected {rows}")
    return found


def _whole(field: str, column: Any, rows: int, default: int, least: int, most: int) -> Ints:
    """Return a column of whole numbers."""
    if not len(column) and rows:
        return np.full(rows, default, dtype=np.int64)
    found = _column(field, column, rows)
    if found.dtype.kind == "f":
        wrong = np.flatnonzero(~np.isfinite(found) | (found != np.trunc(np.where(np.isfinite(found), found, 0))))
    elif found.dtype.kind == "O":
        # Whole numbers beyond 64 bits are out of every range; whatever else stands there is no number.
        wrong = np.array(
            [i for i, item in enumerate(found.tolist()) if isinstance(item, bool) or not isinstance(item, int)], dtype=np.int64
        )
    elif found.dtype.kind not in "iu":
        wrong = np.arange(min(rows, 1))
    else:
        wrong = np.zeros(0, dtype=np.int64)
    if len(wrong):
        raise InvalidProblem(f"{field}[{wrong[0]}]", f"{found[wrong[0]]} is no whole number")
    outside = np.flatnonzero((found < least) | (found > most))
    if len(outside):
        where = int(outside[0])
        known = field in ("pairs.record", "pairs.seller")
        text = f"there is no {field[6:]} {found[where]}" if known else f"{found[where]} is outside {least} … {most}"
        raise InvalidProblem(f"{field}[{where}]", text)
    return found.astype(np.int64)


def _flags(field: str, column: Any, rows: int) -> Flags:
    if not len(column):
        return np.zeros(rows, dtype=np.bool_)
    found = _column(field, column, rows)
    wrong = np.flatnonzero((found != 0) & (found != 1))
    if len(wrong):
        raise InvalidProblem(f"{field}[{wrong[0]}]", f"{found[wrong[0]]} is neither true nor false")
    return found.astype(np.bool_)
