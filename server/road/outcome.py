"""From a solved problem back to records: what is decided about everybody, with status and sentence. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reallot.server.road.batch import CHUNK
from reallot.server.road.plan import Planner
from reallot.server.road.reasons import sentence, shown_status
from reallot.server.road.selection import NOT_RUN
from reallot.server.road.work import Work
from reallot.solver import assignment

OVERDUE = ("NO_AVAILABILITY", "RECORD_TOO_OLD")
"""Statuses of records that fall overdue."""


@dataclass(frozen=True)
class Solved:
    """A problem with its solution.

    Attributes:
        rows: Row of the batch that each record of the problem stands for: int64, shape (records,).
        beyond: Rows that could have been assigned and are over the size limit of the run: nothing is decided about them.
    """

    problem: assignment.Problem
    solution: assignment.Solution
    rows: npt.NDArray[np.int64]
    beyond: frozenset[int] = frozenset()


class Decided(NamedTuple):
    """What is decided about one record.

    Attributes:
        assignment: Status, "" = stays as it is.
        seller_id: Who gets it, "" = nobody.
        rule_id: Rule that decided.
        reason: Why, in a sentence.
        binding: The seller's maxima hold.
        chain: Position of what the rules made of it, -1 = they were not asked.
    """

    assignment: str
    seller_id: str = ""
    rule_id: str = ""
    reason: str = ""
    binding: bool = False
    chain: int = -1


@dataclass(frozen=True)
class Decisions:
    """What is decided about the records of a batch; belongs to one thread."""

    work: Work
    planner: Planner
    solved: Solved

    @cached_property
    def rows(self) -> list[int]:
        """Rows about which there is a decision, by priority, then as they lie in the tables."""
        priority = self.work.records.priority
        found = [row for row in range(len(self.work.records)) if row not in self.solved.beyond and _says_something(self.work, row)]
        return sorted(found, key=lambda row: -priority[row])

    def pieces(self) -> Iterator[list[int]]:
        """Yield these rows in pieces of one commit each; within one, the assigned come first, in the order of their turns.

        A piece of neighbours touches few pages of the tables. Cut in the order of turns, each would touch nearly all, and all of them
        together would cost twice as much.
        """
        places, last = self.turn_places, len(self.turn_places)
        for start in range(0, len(self.rows), CHUNK):
            yield sorted(self.rows[start : start + CHUNK], key=lambda row: places.get(row, last))

    @cached_property
    def turn_places(self) -> dict[int, int]:
        """Position among the turns, from 0, of each row that is assigned."""
        ordered = self.solved.rows[self.solved.solution.turn_order].tolist()
        return {row: place for place, row in enumerate(ordered)}

    def of(self, row: int) -> Decided:
        """Return what is decided about the record of a row."""
        return self._tried(row) if self.work.assign[row] else _not_tried(self.work, row)

    @cached_property
    def _chain_of(self) -> dict[int, int]:
        return dict(zip(self.planner.rows().tolist(), self.planner.chain_numbers().tolist(), strict=True))

    @cached_property
    def _option_of(self) -> dict[int, int]:
        return dict(zip(self.solved.rows.tolist(), self.solved.solution.option_of.tolist(), strict=True))

    @cached_property
    def _given(self) -> dict[tuple[int, int], Decided]:
        return {}

    @cached_property
    def _refused(self) -> dict[tuple[int, str], Decided]:
        return {}

    def _tried(self, row: int) -> Decided:
        option, chain = self._option_of.get(row, -1), self._chain_of.get(row)
        if option < 0 or chain is None:
            return self._unassigned(chain, row)
        if (option, chain) not in self._given:
            problem, draft = self.solved.problem, self.planner.draft
            seller = self.planner.pool.sellers[int(problem.option_seller[option])]
            rule = draft.chains[chain][int(problem.option_rank[option])]
            reason = f"rule {rule.message.display_name or rule.key} chose {seller.display_name or seller.seller_id}"
            self._given[option, chain] = Decided("ASSIGNED", seller.seller_id, rule.key, reason, rule.use_capacity, chain)
        return self._given[option, chain]

    def _unassigned(self, chain: int | None, row: int) -> Decided:
        key = (-1 if chain is None else chain, str(self.work.segment[row]))
        if key not in self._refused:
            traces = self.planner.draft.traces[chain] if chain is not None else ()
            status = shown_status(traces)
            rule = next((t.rule_id for t in traces if t.status == status), "")
            self._refused[key] = Decided(status, "", rule, sentence(status, _segment_name(self.work, row), traces), False, key[0])
        return self._refused[key]


def _says_something(work: Work, row: int) -> bool:
    """Tell whether anything is decided about a record; what came in has a mark that is to be cleared in any case."""
    if work.task.kind == "INTAKE" or work.assign[row] or work.segment[row] != work.records.segment_id[row]:
        return True
    return bool(work.status[row]) and work.status[row] != work.records.assignment[row]


def _not_tried(work: Work, row: int) -> Decided:
    status, keeper = str(work.status[row]), str(work.kept_by[row])
    reason = ""
    if status == "ASSIGNED":
        reason = f"the owner stays: rule {keeper} allows it"
    elif work.released[row]:
        reason = "the record matches no segment any more"
    elif status == "NO_RULE_IN_SEGMENT":
        reason = "the record is in no segment"
    elif status == "WAITING" and work.quiet(row):
        reason = "the record was imported without being assigned and waits for a run"
    elif status in ("WAITING", NOT_RUN):
        reason = sentence(status, _segment_name(work, row), ())
    return Decided(status, "", keeper, reason)


def _segment_name(work: Work, row: int) -> str:
    segment = work.config.segments.get(work.segment[row])
    return segment.name if segment else "none"
