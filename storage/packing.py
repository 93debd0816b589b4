"""Moves on their way from the process that wrote them up to the one that commits them.

They travel with their patterns said once, and all of it as plain tuples: to name the class of every part takes pickle as long as the rest.
In one pickle with the rows prepared from them, their texts are those of the rows. Mostly nobody looks at them again.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from reallot.storage.capacity import Weight
from reallot.storage.moves import DecisionText, EnrollmentEnd, EnrollmentStart, Move, Pattern, Taken
from reallot.storage.numbering import EventText
from reallot.storage.offers import OfferStep

_KINDS: dict[str, Any] = {
    "weight": Weight,
    "weight_after": Weight,
    "turn": Taken,
    "offer": OfferStep,
    "ends": EnrollmentEnd,
    "starts": EnrollmentStart,
    "event": EventText,
    "decision": DecisionText,
}
_PARTS = tuple((Pattern._fields.index(name), kind) for name, kind in _KINDS.items())
_PATTERN = Move._fields.index("pattern")


class PackedMoves(NamedTuple):
    """Moves as plain tuples.

    Attributes:
        patterns: Their patterns.
        columns: Values of all moves, field by field; for the pattern its place among `patterns`.
    """

    patterns: Sequence[tuple[Any, ...]]
    columns: Sequence[Sequence[Any]]


def pack(moves: Sequence[Move]) -> PackedMoves:
    """Pack moves."""
    places: dict[int, int] = {}
    of = [places.setdefault(id(move.pattern), len(places)) for move in moves]
    patterns = {id(move.pattern): move.pattern for move in moves}
    columns: list[Sequence[Any]] = list(zip(*moves, strict=True))
    if columns:
        columns[_PATTERN] = of
    return PackedMoves([_plain(pattern) for pattern in patterns.values()], columns)


def unpack(packed: PackedMoves) -> list[Move]:
    """Return the moves, in their order; those that shared a pattern share it again."""
    patterns = [_pattern(values) for values in packed.patterns]
    columns = list(packed.columns)
    if columns:
        columns[_PATTERN] = [patterns[place] for place in columns[_PATTERN]]
    return [Move(*values) for values in zip(*columns, strict=True)]


def _plain(pattern: Pattern) -> tuple[Any, ...]:
    values: list[Any] = list(pattern)
    for at, _ in _PARTS:
        if values[at] is not None:
            values[at] = tuple(values[at])
    return tuple(values)


def _pattern(plain: tuple[Any, ...]) -> Pattern:
    values: list[Any] = list(plain)
    for at, kind in _PARTS:
        if values[at] is not None:
            values[at] = kind(*values[at])
    return Pattern(*values)
