"""Moves of records that stand alike and about which the same is decided: one is written up with holes for names, the others are cast.

What differs between them are the record's id, its title, its open enrollment, and what stands in no text. A run writes up 100,000
moves, of which few thousands differ in more than that; the patterns that they share pass the pipe only once a piece.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from reallot.server.convert.records import quoted
from reallot.storage.moves import STATE, Move, Pattern

# Unicode keeps this character out of texts that are exchanged, for uses like this one.
RECORD, TITLE, ENROLLMENT = "\ufdd0record\ufdd0", "\ufdd0title\ufdd0", "\ufdd0enrollment\ufdd0"
"""Holes: what stands in a move's texts instead of a name."""
_PLACES = {RECORD: 0, TITLE: 1, ENROLLMENT: 2}
_HOLE = re.compile(f"({'|'.join(_PLACES)})")
_ENROLLED = STATE.index("enrollment_id")


class Names(NamedTuple):
    """What is put into the holes."""

    record: str
    title: str
    enrollment: str = ""


@dataclass(frozen=True, slots=True)
class Stencil:
    """A move with holes.

    Attributes:
        pattern: What its moves share; where enrollments are concerned, with holes.
        sentence: With a hole for the title; "null" without an event.
        waits: The record has no owner after it, so that it goes on waiting.
    """

    pattern: Pattern
    sentence: str
    waits: bool

    def cast(self, names: Names, *, place: int, waiting_since_us: int, generation: int, considered: str, amount: int = 1) -> Move:
        """Return the move of one record.

        Args:
            names: Its names.
            place: Place of its turn among those of the plan, if it takes one.
            waiting_since_us: Since when it waits, if it does.
            generation: Generation of its pending mark, 0 = none.
            considered: What its rules made of it, as JSON.
            amount: How much of what its rule shares out it is.
        """
        pattern = self.pattern
        if names.enrollment or pattern.starts is not None:
            pattern = _enrolled(pattern, names)
        since = waiting_since_us if self.waits else None
        return Move(names.record, pattern, since, place, _filled(self.sentence, names), considered, generation, amount=amount)


def _enrolled(pattern: Pattern, names: Names) -> Pattern:
    """Return a pattern with the names of enrollments."""
    ends, starts, event, decision, state = pattern.ends, pattern.starts, pattern.event, pattern.decision, pattern.state
    return pattern._replace(
        state=(*state[:_ENROLLED], _put(state[_ENROLLED], names), *state[_ENROLLED + 1 :]),
        ends=ends._replace(enrollment_id=names.enrollment) if ends is not None else None,
        starts=starts._replace(enrollment_id=_put(starts.enrollment_id, names), record_id=names.record) if starts is not None else None,
        event=event._replace(before=_filled(event.before, names), after=_filled(event.after, names)) if event is not None else None,
        decision=decision._replace(before=_filled(decision.before, names), after=_filled(decision.after, names)) if decision else None,
    )


def _put(text: str, names: Names) -> str:
    return _HOLE.sub(lambda hole: names[_PLACES[hole[0]]], text)


def _filled(document: str, names: Names) -> str:
    """Return a JSON text with the names in its holes."""
    parts = list(_parts(document))
    parts[1::2] = [quoted(names[_PLACES[hole]])[1:-1] for hole in parts[1::2]]
    return "".join(parts)


@lru_cache(maxsize=100_000)
def _parts(document: str) -> tuple[str, ...]:
    """Return what stands between the holes of a text, with the holes in between; a stencil's texts are filled again and again."""
    return tuple(_HOLE.split(document))
