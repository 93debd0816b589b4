"""From a solved problem back to records: what is decided about everybody, with status and sentence. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from reallot.server.languages.saying import say
from reallot.server.road.batch import CHUNK
from reallot.server.road.events import owner_name
from reallot.server.road.offers import OFFERED
from reallot.server.road.plan import Planner
from reallot.server.road.reasons import sentence, shown_status
from reallot.server.road.selection import NOT_RUN
from reallot.server.road.shares import Shared, shared_out
from reallot.server.road.tries import NextTry, instants, next_try
from reallot.server.road.work import Work
from reallot.server.workspace_config import RuleConfig
from reallot.solver import assignment

OVERDUE = ("NO_AVAILABILITY", "RECORD_TOO_OLD")
"""Statuses of records that fall overdue."""


class Frame(NamedTuple):
    """What beside the problem decides a plan.

    Attributes:
        sequential: Time ran out, so the plan is that of the sequential rule.
        limit: Most records that may be assigned, 0 = no limit.
        names: Hash over the names of the records and of those who may take them, in their order; empty = the plan is not kept.
        rebalances: Records have owners, and as few as the gain is worth are to change.
        most_changes: Most that may change, None = as many as the best plan takes.
    """

    sequential: bool
    limit: int
    names: str
    rebalances: bool = False
    most_changes: int | None = None


class Given(NamedTuple):
    """What a plan is made from.

    Attributes:
        problem: The problem.
        rows: Row of the batch that each of its records stands for: int64, shape (records,).
        frame: What else decides.
        owners: Place in the pool of each record's owner, -1 = none of them: int64; empty unless owners are to change.
    """

    problem: assignment.Problem
    rows: npt.NDArray[np.int64]
    frame: Frame
    owners: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)


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
        seller_id: Seller who gets it or is offered it, "" = none.
        rule_id: Rule that decided.
        reason: Why, in a sentence.
        binding: The seller's maxima hold.
        next_try_us: When the clock has it tried again, None = that is not known.
        group: Kind and id of the team or queue that gets it; empty = none does.
        pool: Position, among the plan's, of the pool from which it is given by shares; -1 = none.
    """

    assignment: str
    seller_id: str = ""
    rule_id: str = ""
    reason: str = ""
    binding: bool = False
    pool: int = -1
    next_try_us: int | None = None
    group: tuple[str, str] | tuple[()] = ()

    @property
    def owner(self) -> tuple[str, str]:
        """Kind and id of who gets it, both "" = nobody."""
        return self.group or (("SELLER", self.seller_id) if self.seller_id else ("", ""))


@dataclass(frozen=True)
class Decisions:
    """What is decided about the records of a batch; belongs to one thread."""

    work: Work
    planner: Planner
    solved: Solved
    given: Given

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

    @cached_property
    def takers(self) -> npt.NDArray[np.int64]:
        """Place in the pool of who gets the record of each row, -1 = nobody: int64, shape (rows of the batch,)."""
        return self._of_option(self.solved.problem.option_seller)

    @cached_property
    def chains(self) -> list[int]:
        """Position of what the rules made of the record of each row, -1 = they were not asked."""
        return _listed(self._by_row(self.planner.rows(), self.planner.chain_numbers()))

    def _by_row(self, rows: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        found = np.full(len(self.work.records), -1, dtype=np.int64)
        found[rows] = values
        return found

    def _of_option(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return the value of the option that each row's record takes, -1 = none."""
        option = self.solved.solution.option_of
        return self._by_row(self.solved.rows[option >= 0], values[option[option >= 0]])

    def of(self, row: int) -> Decided:
        """Return what is decided about the record of a row."""
        if not self.work.assign[row]:
            return _not_tried(self.work, row)
        chain, taker = self.chains[row], self._takers[row]
        return self._assigned(chain, taker, self._ranks[row], row) if taker >= 0 else self._unassigned(chain, row)

    @cached_property
    def _takers(self) -> list[int]:
        return _listed(self.takers)

    @cached_property
    def _ranks(self) -> list[int]:
        """Rank of the rule by which each row's record is given, among those that match it."""
        return _listed(self._of_option(self.solved.problem.option_rank))

    @cached_property
    def shared(self) -> Shared:
        """The pools from which records are given by shares, and which record from which."""
        return shared_out(self.planner.books, self.planner.pool, self.solved.problem, self.solved.solution.option_of)

    @cached_property
    def _pools(self) -> list[int]:
        return _listed(self._by_row(self.solved.rows, self.shared.pool_of))

    @cached_property
    def _given(self) -> dict[tuple[int, str, bool, int], Decided]:
        return {}

    @cached_property
    def _refused(self) -> dict[tuple[int, str], Decided]:
        return {}

    def _assigned(self, chain: int, taker: int, rank: int, row: int) -> Decided:
        rule, pool = self.planner.draft.chains[chain][rank], self.planner.pool
        # Who has the record already need not be asked.
        has_it = self.work.records.owner_kind[row] == "SELLER" and pool.owner_at(taker).id == self.work.records.owner_id[row]
        key = (taker, rule.key, rule.message.HasField("offer") and not has_it, self._pools[row])
        if key not in self._given:
            self._given[key] = self._decided(rule, taker, asks=key[2], shared=key[3])
        return self._given[key]

    def _decided(self, rule: RuleConfig, taker: int, *, asks: bool, shared: int) -> Decided:
        pool, named = self.planner.pool, rule.message.display_name or rule.key
        if taker >= len(pool.sellers):
            group = pool.owner_at(taker)
            reason = say("rule_chose", rule=named, who=owner_name(group, self.work.config))
            return Decided("ASSIGNED", "", rule.key, reason, group=(group.kind.value, group.id))
        seller = pool.sellers[taker]
        whom = seller.name
        status = OFFERED if asks else "ASSIGNED"
        reason = say("rule_offers", rule=named, who=whom) if asks else say("rule_chose", rule=named, who=whom)
        return Decided(status, seller.seller_id, rule.key, reason, rule.use_capacity, shared)

    def _unassigned(self, chain: int, row: int) -> Decided:
        if (bundle := self._bundles[row]) >= 0:
            return self._torn(chain, row, bundle)
        key = (chain, str(self.work.segment[row]))
        if key not in self._refused:
            traces = self.planner.draft.traces[chain] if chain >= 0 else ()
            status = shown_status(traces)
            rule = next((t.rule_id for t in traces if t.status == status), "")
            said = sentence(status, _segment_name(self.work, row), traces)
            self._refused[key] = Decided(status, "", rule, said, next_try_us=self._next_try(chain).first_us)
        return self._refused[key]

    @cached_property
    def _bundles(self) -> list[int]:
        """Bundle of each row's record, -1 = it goes alone or was not asked about."""
        return _listed(self._by_row(self.solved.rows, self._bundled.of))

    @cached_property
    def _bundled(self) -> assignment.Bundles:
        return assignment.Bundles(self.solved.problem)

    def _torn(self, chain: int, row: int, bundle: int) -> Decided:
        """Return why a record is not given that goes with others: by what itself fails at, or because nobody can take all of them."""
        traces = self.planner.draft.traces[chain] if chain >= 0 else ()
        members, sellers = self._bundled.members[bundle], self._bundled.sellers[bundle]
        if traces and not any(trace.status == "ASSIGNED" for trace in traces):
            status = shown_status(traces)
            said = sentence(status, _segment_name(self.work, row), traces)
        else:
            status = "NO_CAPACITY" if sellers else "NO_SELLER_MATCHED"
            said = say("no_room_for_all") if sellers else say("nobody_for_all")
        rule = next((t.rule_id for t in traces if t.status == status), "")
        why = say("goes_together", others=len(members) - 1, why=said)
        return Decided(status, "", rule, why, next_try_us=self._next_try(chain).first_us)

    def _next_try(self, chain: int) -> NextTry:
        if chain not in self._tries:
            reached = self.planner.draft.reached[chain] if chain >= 0 else ()
            self._tries[chain] = next_try(reached, self.planner.pool, self.work.config.rerun_on)
        return self._tries[chain]

    @cached_property
    def _tries(self) -> dict[int, NextTry]:
        return {}

    @property
    def tried_again_us(self) -> tuple[int, ...]:
        """Instants at which somebody works whom records that keep waiting may go to, in order."""
        waiting = np.flatnonzero(self.work.assign & (self.takers < 0)).tolist()
        chains = {self.chains[row] for row in waiting if row not in self.solved.beyond}
        return instants([self._next_try(chain) for chain in chains])


def _listed(values: npt.NDArray[np.int64]) -> list[int]:
    numbers: list[int] = values.tolist()
    return numbers


def _says_something(work: Work, row: int) -> bool:
    """Tell whether anything is decided about a record; what came in has a mark that is to be cleared in any case."""
    if work.task.kind == "INTAKE" or work.assign[row] or work.segment[row] != work.records.segment_id[row]:
        return True
    return bool(work.status[row]) and work.status[row] != work.records.assignment[row]


def _not_tried(work: Work, row: int) -> Decided:
    status, keeper = str(work.status[row]), str(work.kept_by[row])
    reason = ""
    if status == "ASSIGNED":
        reason = say("owner_stays", rule=keeper)
    elif work.released[row]:
        reason = say("no_segment_any_more")
    elif status == "NO_RULE_IN_SEGMENT":
        reason = say("in_no_segment")
    elif status == "WAITING" and work.quiet(row):
        reason = say("imported_quietly")
    elif status in ("WAITING", NOT_RUN):
        reason = sentence(status, _segment_name(work, row), ())
    return Decided(status, "", keeper, reason)


def _segment_name(work: Work, row: int) -> str:
    segment = work.config.segments.get(work.segment[row])
    return segment.name if segment else "none"
