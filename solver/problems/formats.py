"""Files that hold problems: our JSON, OR-Library's generalised and linear assignment, and DIMACS minimum-cost flow.

Reads text into problems and knows nothing of files. Formats: J. E. Beasley, OR-Library (gap, assign); DIMACS challenge 1 (min).
"""

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from reallot.solver.problems.problem import Ints, InvalidProblem, Problem, Sense, problem_of

MOST_DECIMALS = 9


class Format(enum.StrEnum):
    """Formats of files."""

    JSON = "json"
    ORLIB_GAP = "orlib-gap"
    ORLIB_ASSIGN = "orlib-assign"
    DIMACS_MIN = "dimacs-min"


class UnreadableFile(ValueError):
    """A text that is not in its format; says where."""


@dataclass(frozen=True)
class Reading:
    """A problem from a text. `scale`: values in the text were multiplied with this to become whole numbers."""

    problem: Problem
    scale: int = 1


@dataclass(frozen=True)
class FlowNetwork:
    """A minimum-cost flow problem. `supply` of nodes, below 0 = demand; arcs with bounds and cost of a unit; all int64."""

    supply: Ints
    tail: Ints
    head: Ints
    lower: Ints
    upper: Ints
    cost: Ints


def read_orlib_gap(text: str, sense: Sense) -> Reading:
    """Read m agents, n jobs, m × n costs, m × n loads, m capacities: a job is a record, an agent a seller.

    Raises:
        UnreadableFile, InvalidProblem: the text is not such a file.
    """
    numbers = _numbers(text)
    if len(numbers) < 2:
        raise UnreadableFile("the file ends before the numbers of agents and jobs")
    agents, jobs = int(numbers[0]), int(numbers[1])
    size = agents * jobs
    if agents < 1 or jobs < 0 or len(numbers) != 2 + 2 * size + agents:
        raise UnreadableFile(f"{agents} agents and {jobs} jobs need {2 + 2 * size + agents} numbers, the file has {len(numbers)}")
    cost, load = (numbers[2 + part * size : 2 + (part + 1) * size].reshape(agents, jobs).T.ravel() for part in (0, 1))
    record, seller = np.repeat(np.arange(jobs), agents), np.tile(np.arange(agents), jobs)
    maximum = numbers[2 + 2 * size :]
    made = problem_of(records=jobs, sellers=agents, record=record, seller=seller, value=cost, load=load, maximum_load=maximum, sense=sense)
    return Reading(made)


def read_orlib_assign(text: str, sense: Sense) -> Reading:
    """Read n, then n × n costs: each row is a record, each column a seller who takes one.

    Raises:
        UnreadableFile, InvalidProblem: the text is not such a file.
    """
    numbers = _numbers(text)
    count = int(numbers[0]) if len(numbers) else 0
    if count < 1 or len(numbers) != 1 + count * count:
        raise UnreadableFile(f"{count} rows need {1 + count * count} numbers, the file has {len(numbers)}")
    record, seller = np.repeat(np.arange(count), count), np.tile(np.arange(count), count)
    one = np.ones(count, dtype=np.int64)
    made = problem_of(records=count, sellers=count, record=record, seller=seller, value=numbers[1:], maximum_load=one, sense=sense)
    return Reading(made)


def read_dimacs_min(text: str) -> FlowNetwork:
    """Read a minimum-cost flow problem in DIMACS format.

    Raises:
        UnreadableFile: the text is not in that format.
    """
    supply: Ints | None = None
    arcs: list[tuple[int, ...]] = []
    expected = 0
    for number, line in enumerate(text.splitlines(), start=1):
        kind, *rest = line.split() or ["c"]
        try:
            match kind:
                case "c":
                    continue
                case "p":
                    nodes, expected = int(rest[1]), int(rest[2])
                    supply = np.zeros(nodes, dtype=np.int64)
                case "n" if supply is not None:
                    supply[_node(rest[0], len(supply))] = int(rest[1])
                case "a" if supply is not None:
                    tail, head = (_node(name, len(supply)) for name in rest[:2])
                    arcs.append((tail, head, int(rest[2]), int(rest[3]), int(rest[4])))
                case _:
                    raise ValueError("such a line does not stand here")
        except (ValueError, IndexError, OverflowError) as error:
            raise UnreadableFile(f"line {number} {line.strip()!r} cannot be read: {error}") from None
    if supply is None or len(arcs) != expected:
        raise UnreadableFile(f"the file announces {expected} arcs and has {len(arcs)}")
    tail_, head_, lower, upper, cost = np.array(arcs, dtype=np.int64).reshape(-1, 5).T
    return FlowNetwork(supply, tail_, head_, lower, upper, cost)


def _node(name: str, nodes: int) -> int:
    if not 1 <= int(name) <= nodes:
        raise ValueError(f"there is no node {name}")
    return int(name) - 1


def _numbers(text: str) -> Ints:
    words = text.split()
    try:
        return np.array(words, dtype=np.int64)
    except (ValueError, OverflowError):
        place = next(index for index, word in enumerate(words) if not word.lstrip("+-").isdecimal() or abs(int(word)) >= 2**63)
        raise UnreadableFile(f"number {place + 1}, {words[place]!r}, is no whole number") from None


def read_json(text: str, sense: Sense | None = None) -> Reading:
    """Read our JSON: `{"sense", "records": [...], "sellers": [...], "pairs": [...]}` with a row an object; docs/solver.md has the names.

    Values and skip costs may have decimals, which are scaled to whole numbers exactly. `sense` wins over the one in the text.

    Raises:
        UnreadableFile, InvalidProblem: the text is no such problem.
    """
    try:
        found = json.loads(text, parse_float=Decimal, parse_constant=Decimal)
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(f"this is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise UnreadableFile("the file holds no object")
    _known("", found, ("sense", "records", "sellers", "pairs"))
    records = _rows("records", found, ("id", "demand", "effort", "optional", "skip_cost"))
    sellers = _rows("sellers", found, ("id", "minimum_load", "maximum_load"))
    pairs = _rows("pairs", found, ("record", "seller", "value", "load", "level", "pinned", "hint", "forbidden"))
    pairs = [pair for pair in pairs if not pair.get("forbidden")]
    scale = _scale([*(pair.get("value") for pair in pairs), *(record.get("skip_cost") for record in records)])
    places = {name: _places(name, rows) for name, rows in (("records", records), ("sellers", sellers))}
    columns: dict[str, Any] = {
        "record": [_place("record", index, pair, places["records"], len(records)) for index, pair in enumerate(pairs)],
        "seller": [_place("seller", index, pair, places["sellers"], len(sellers)) for index, pair in enumerate(pairs)],
        "value": _scaled(pairs, "value", scale),
        "skip_cost": _scaled(records, "skip_cost", scale),
    }
    # Before loads have their default of the record's effort, pairs without one get it here: only some of them may have a load.
    efforts = [record.get("effort", 1) for record in records]
    columns["load"] = [pair.get("load", efforts[columns["record"][index]]) for index, pair in enumerate(pairs)]
    for rows, name, default in (
        *((records, name, default) for name, default in (("demand", 1), ("effort", 1), ("optional", False))),
        *((pairs, name, default) for name, default in (("level", 0), ("pinned", False), ("hint", False))),
        (sellers, "minimum_load", 0),
    ):
        columns[name] = [row.get(name, default) for row in rows]
    most = [2**62 if row.get("maximum_load") is None else row["maximum_load"] for row in sellers]
    made = problem_of(
        records=len(records),
        sellers=len(sellers),
        **columns,
        maximum_load=most,
        record_ids=[str(row.get("id", index)) for index, row in enumerate(records)],
        seller_ids=[str(row.get("id", index)) for index, row in enumerate(sellers)],
        sense=sense or _sense(found.get("sense")),
    )
    return Reading(made, scale)


def _sense(text: Any) -> Sense:
    match text:
        case None | "min":
            return Sense.MINIMISE
        case "max":
            return Sense.MAXIMISE
        case _:
            raise InvalidProblem("sense", f"{text!r} is neither min nor max")


def _known(field: str, found: Mapping[str, Any], names: Sequence[str]) -> None:
    for name in found:
        if name not in names:
            raise InvalidProblem(f"{field}{name}", f"there is no such name; known are {', '.join(names)}")


def _rows(field: str, found: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    rows = found.get(field, [])
    if not isinstance(rows, list):
        raise InvalidProblem(field, "is no list")
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InvalidProblem(f"{field}[{index}]", "is no object")
        _known(f"{field}[{index}].", row, names)
    return rows


def _places(field: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {str(row["id"]): index for index, row in enumerate(rows) if "id" in row}


def _place(kind: str, index: int, pair: Mapping[str, Any], places: Mapping[str, int], rows: int) -> int:
    """Return the position that a pair names, by id or, where nothing has one, by number."""
    named = pair.get(kind)
    if str(named) in places:
        return places[str(named)]
    if not places and isinstance(named, int) and not isinstance(named, bool) and 0 <= named < rows:
        return named
    raise InvalidProblem(f"pairs[{index}].{kind}", f"there is no {kind} {named!r}")


def _scale(values: Sequence[Any]) -> int:
    """Return the power of ten that makes all values whole."""
    decimals = 0
    for value in values:
        if isinstance(value, Decimal) and value.is_finite():
            exponent = value.normalize().as_tuple().exponent
            decimals = max(decimals, -exponent if isinstance(exponent, int) else 0)
    if decimals > MOST_DECIMALS:
        raise InvalidProblem("pairs.value", f"{decimals} decimals are too many, {MOST_DECIMALS} are the most")
    return int(10**decimals)


def _scaled(rows: Sequence[Mapping[str, Any]], name: str, scale: int) -> list[Any]:
    made = []
    for row in rows:
        value = row.get(name, 0)
        if isinstance(value, Decimal) and value.is_finite():
            value = int(value * scale)
        elif isinstance(value, int) and not isinstance(value, bool):
            value *= scale
        made.append(value)
    return made
