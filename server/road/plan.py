"""Stop "plan": from records in segments to an assignment problem, and from its solution back to records. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from reallot.server.road.fitting import MISSES_CONTINUITY, MISSES_PREFERRED, NO_SCORE, Fit, fit_costs, fit_of
from reallot.server.road.groups import GroupTargets, group_targets
from reallot.server.road.pool import Pool
from reallot.server.road.reasons import RuleTrace, rule_status
from reallot.server.road.shares import ShareBooks
from reallot.server.workspace_config import RuleConfig, SegmentConfig, WorkspaceConfig
from reallot.solver.assignment import Contacts, Policy, Problem, Scope
from reallot.solver.assignment.contacts import MINUTE_US
from reallot.solver.assignment.problem import NEEDED, Ints
from reallot.solver.calendars import UNAVAILABLE, WIDEST_BUCKET
from reallot.solver.segmentation import Matches, evaluate
from reallot.solver.timetables import Timetables
from reallot.v1 import segment_pb2

NOT_MATCHED, TOO_OLD, NOT_REACHED = -1, -2, -3
"""What stands for a rule in a record's chain instead of a combination of sellers."""

_TURNS_OF = "round_robin:"
"""Begins the names of scopes of rules with an order of their own; the rule follows."""


@dataclass(frozen=True)
class Candidates:
    """Records of one segment that are to be assigned: their rows in the batch, the columns that rules read.

    `together` are names that records of one bundle share, "" = the record goes alone; `record_id` are their ids.
    """

    segment: SegmentConfig
    rows: npt.NDArray[np.int64]
    frame: pl.DataFrame
    created_us: Ints
    record_id: Sequence[str]
    together: Sequence[str]


class Chained(NamedTuple):
    """Candidates with the rules of their segment, and the chain of each (see `Planner.chains_of`)."""

    candidates: Candidates
    targets: "list[RuleTargets | GroupTargets]"
    chain: npt.NDArray[np.int64]

    def fits(self, sellers: Ints) -> npt.NDArray[np.bool_]:
        """Return which records a rule that looks at them may give to one of these sellers: bool, shape (records,)."""
        found = np.zeros(len(self.chain), dtype=np.bool_)
        for column, target in enumerate(self.targets):
            if isinstance(target, RuleTargets):
                reached = np.flatnonzero(self.chain[:, column] >= 0)
                found[reached] |= target.fits_any(sellers)[self.chain[reached, column]]
        return found

    def only(self, kept: npt.NDArray[np.bool_]) -> "Chained":
        """Return the records that are kept: bool, shape (records,). Their columns stay behind: the rules have read them."""
        held, places = self.candidates, np.flatnonzero(kept).tolist()
        ids, together = [held.record_id[place] for place in places], [held.together[place] for place in places]
        return self._replace(candidates=replace(held, rows=held.rows[kept], record_id=ids, together=together), chain=self.chain[kept])


@dataclass(frozen=True)
class RuleTargets:
    """One rule over the candidates of its segment, as far as it does not depend on the single record.

    Attributes:
        rule: The rule.
        fit: The sellers that its target fits, by combination, and how well.
        widest: Last availability bucket that the rule allows; UNAVAILABLE = it does not look at availability.
        pool: The sellers.
        room: What each of them can take of the segment's records: int64, shape (m,).
        keep_full: Sellers without free capacity stay among the options, for questions about them; the plan is the same.
    """

    rule: RuleConfig
    fit: Fit
    widest: int
    pool: Pool
    room: Ints
    keep_full: bool = False

    @property
    def matches(self) -> Matches:
        """The sellers that its target fits, by combination."""
        return self.fit.matches

    def trace(self, combination: int) -> RuleTrace:
        """Return what the rule makes of one combination: its status, and how many sellers were left out by what."""
        fitting, with_role, switched, responding, able, there, free = self._left[combination]
        counts = {
            "ELIGIBLE": free,
            "NOT_MATCHED": len(self.pool.sellers) - fitting,
            "SWITCHED_OFF": with_role - switched,
            "NOT_RESPONDING": switched - responding,
            "OFFERED_BEFORE": responding - able,
            "ROLE_NOT_ELIGIBLE": fitting - with_role,
            "NOT_AVAILABLE": able - there,
            "NO_CAPACITY": there - free,
        }
        return RuleTrace(self.rule.key, rule_status(fitting, able, there, free), {k: v for k, v in counts.items() if v})

    def options(self, combination: int, rank: int, scope: Callable[[Ints, Ints], Ints], leaves: Ints) -> Ints:
        """Return one combination's options as the columns seller, rank, bucket, score, scope, capacity node, misses.

        They are not to be changed.

        `scope` gives the policy's scope by seller and availability bucket, `leaves` the capacity node by seller.
        """
        if rank not in self._tables:
            seller = self._choices.seller.astype(np.int64)
            looks = self.widest < UNAVAILABLE
            bucket = self.pool.bucket[seller].astype(np.int64) if looks else np.zeros(len(seller), dtype=np.int64)
            cap = leaves[seller] if self.rule.use_capacity else np.full(len(seller), -1)
            score, misses = (column[self._chosen] for column in (self.fit.score, self.fit.misses))
            columns = [seller, np.full(len(seller), rank), bucket, score, scope(seller, bucket), cap, misses]
            self._tables[rank] = np.column_stack(columns).astype(np.int64)
        return self._tables[rank][self._choices.start[combination] : self._choices.start[combination + 1]]

    def asked(self, combination: int) -> set[int]:
        """Return the sellers of a combination whose offer of the record has ended."""
        part = slice(self.matches.start[combination], self.matches.start[combination + 1])
        return set(self.matches.seller[part][self.fit.asked[part]].tolist())

    @cached_property
    def _filters(self) -> list[npt.NDArray[np.bool_]]:
        """What each pair of combination and seller passes, one after the other.

        Role, switch, answers to offers, no earlier offer of the same record, availability, capacity.
        """
        pool, seller = self.pool, self.matches.seller
        role = pool.roles_ok[seller]
        switched = role & pool.assignable[seller]
        responding = switched & pool.responds[seller]
        able = responding & ~self.fit.asked
        there = able & (pool.bucket[seller] <= self.widest) if self.widest < UNAVAILABLE else able
        free = there & (self.room[seller] > 0) if self.rule.use_capacity else there
        return [role, switched, responding, able, there, free]

    @property
    def _chosen(self) -> npt.NDArray[np.bool_]:
        """Which pairs are options."""
        return self._filters[-2 if self.keep_full else -1]

    def passing(self, combination: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return which sellers of a combination could take a record, which of them are available, and which of these have room."""
        part = slice(self.matches.start[combination], self.matches.start[combination + 1])
        able, there, free = (passed[part] for passed in self._filters[-3:])
        return able, there, free

    def fits_any(self, sellers: Ints) -> npt.NDArray[np.bool_]:
        """Return which combinations of sellers have one of these: bool, one for each combination."""
        return np.diff(_counted_upto(np.isin(self.matches.seller, sellers))[self.matches.start]) > 0

    @cached_property
    def _choices(self) -> Matches:
        chosen = self._chosen
        return Matches(self.matches.combination_of, _counted_upto(chosen)[self.matches.start], self.matches.seller[chosen])

    @cached_property
    def _left(self) -> list[list[int]]:
        """How many sellers each combination has after the target and after each filter."""
        start = self.matches.start
        left: list[list[int]] = np.column_stack([np.diff(start), *(np.diff(_counted_upto(f)[start]) for f in self._filters)]).tolist()
        return left

    @cached_property
    def _tables(self) -> dict[int, Ints]:
        return {}


def _counted_upto(flags: npt.NDArray[np.bool_]) -> Ints:
    """Return how many of the flags before each position are set: int64, one longer than `flags`."""
    return np.concatenate([[0], np.cumsum(flags)]).astype(np.int64)


class CapName(NamedTuple):
    """What a capacity node stands for: a seller's maximum in all, or that of a record type or segment."""

    seller: int
    record_type: str = ""
    segment: str = ""


@dataclass
class Draft:
    """The problem as it grows, and what is needed to read its solution.

    Attributes:
        rows: Rows of the batch that the problem's records stand for, in order.
        rule_of: For each record, the keys of its matching rules by rank.
        trace_of: For each record, position in `traces`.
        traces: What the rules of a segment make of a class of records.
        reached: The rules that look at such a class, each with its combination of sellers.
    """

    rows: list[npt.NDArray[np.int64]] = field(default_factory=list)
    together: list[Sequence[str]] = field(default_factory=list)
    class_of: list[npt.NDArray[np.int32]] = field(default_factory=list)
    chain_of: list[npt.NDArray[np.int64]] = field(default_factory=list)
    options: list[npt.NDArray[np.int64]] = field(default_factory=list)
    efforts: list[int] = field(default_factory=list)
    known: dict[tuple[bytes, int], int] = field(default_factory=dict)
    chains: list[tuple[RuleConfig, ...]] = field(default_factory=list)
    traces: list[tuple[RuleTrace, ...]] = field(default_factory=list)
    reached: list[tuple[tuple[RuleTargets | GroupTargets, int], ...]] = field(default_factory=list)


class Planner:
    """Builds the problem of one batch. Used once, by one thread."""

    def __init__(self, config: WorkspaceConfig, pool: Pool, now_us: int, seed: int = 0, *, keep_full: bool = False) -> None:
        """Begin a problem; with `keep_full`, sellers without free capacity stay among the options."""
        self.seed = seed
        self.config = config
        self.pool = pool
        self.now_us = now_us
        self.keep_full = keep_full
        self.draft = Draft()
        self.scopes: list[tuple[str, Policy]] = []
        self.cap_free: list[int] = pool.room.tolist()
        self.cap_parent: list[int] = [-1] * len(pool.sellers)
        self.cap_names: list[CapName] = [CapName(index) for index in range(len(pool.sellers))]
        self._leaves: dict[str, Ints] = {}
        self.books = ShareBooks(pool)
        self._handling_us: dict[int, int] = {}

    def targets_of(self, candidates: Candidates) -> list[RuleTargets | GroupTargets]:
        """Return the rules of a segment over its candidates.

        Raises:
            TooManyPairs: a target would be evaluated on more pairs than allowed.
        """
        rules = candidates.segment.rules
        sellers = self.pool.frame({skill for rule in rules for skill in rule.skills})
        room = self.pool.room_for(candidates.segment.message.record_type, candidates.segment.id)
        return [self._target_of(rule, candidates, sellers, room) for rule in rules]

    def _target_of(self, rule: RuleConfig, candidates: Candidates, sellers: pl.DataFrame, room: Ints) -> RuleTargets | GroupTargets:
        if rule.group is not None:
            names = [name or record_id for name, record_id in zip(candidates.together, candidates.record_id, strict=True)]
            return group_targets(rule, rule.group, self.pool, candidates.frame, names, self.now_us, self.seed)
        fit = fit_of(rule, partial(self.pool.listed, rule), candidates.frame, sellers, self.now_us, self.pool.stand_in)
        return RuleTargets(rule, fit, _widest(rule.message), self.pool, room, self.keep_full)

    def chains_of(self, candidates: Candidates, targets: Sequence[RuleTargets | GroupTargets]) -> npt.NDArray[np.int64]:
        """Return each record's chain: for every rule a combination of sellers, or why there is none: int64, (records, rules)."""
        n = len(candidates.rows)
        conditions = [t.rule.condition for t in targets if t.rule.condition is not None]
        holds = evaluate(conditions, candidates.frame, now_us=self.now_us)
        chain = np.full((n, len(targets)), NOT_MATCHED, dtype=np.int64)
        open_ = np.ones(n, dtype=np.bool_)
        column = 0
        for index, target in enumerate(targets):
            matched = np.ones(n, dtype=np.bool_)
            if target.rule.condition is not None:
                matched, column = holds[:, column], column + 1
            message = target.rule.message
            old = np.zeros(n, dtype=np.bool_)
            if message.HasField("consider_created_within"):
                old = candidates.created_us < self.now_us - message.consider_created_within.ToMicroseconds()
            chain[matched, index] = np.where(old, TOO_OLD, target.matches.combination_of)[matched]
            chain[~open_, index] = NOT_REACHED
            if message.on_no_seller == segment_pb2.ON_NO_SELLER_STOP:
                open_ &= ~matched
        return chain

    def chained(self, candidates: Candidates) -> Chained:
        """Return candidates with what the rules of their segment make of them.

        Raises:
            TooManyPairs: a target would be evaluated on more pairs than allowed.
        """
        targets = self.targets_of(candidates)
        for target in targets:
            if isinstance(target, RuleTargets) and target.rule.shares:
                self.books.open(target, self._room(candidates.segment, target.rule))
        return Chained(candidates, targets, self.chains_of(candidates, targets))

    def add(self, chained: Chained, effort: Ints) -> None:
        """Add the candidates of one segment; `effort` is theirs: int64, shape (records,)."""
        candidates, targets, chain = chained
        if not len(chain):
            return
        kinds, kind_of = np.unique(np.column_stack([effort, chain]), axis=0, return_inverse=True)
        classes, traced = [], []
        for kind in kinds:
            options, rules, traces = self._options(candidates.segment, targets, kind[1:])
            classes.append(self._class(options, int(kind[0])))
            traced.append(len(self.draft.traces))
            self.draft.traces.append(traces)
            self.draft.reached.append(tuple((t, c) for t, c in zip(targets, kind[1:].tolist(), strict=True) if c >= 0))
            self.draft.chains.append(rules)
        kind_of = kind_of.reshape(-1)
        self.draft.rows.append(candidates.rows)
        self.draft.together.append(candidates.together)
        self.draft.class_of.append(np.array(classes, dtype=np.int32)[kind_of])
        self.draft.chain_of.append(np.array(traced, dtype=np.int64)[kind_of])

    def _options(
        self, segment: SegmentConfig, targets: Sequence[RuleTargets | GroupTargets], chain: Ints
    ) -> tuple[npt.NDArray[np.int64], tuple[RuleConfig, ...], tuple[RuleTrace, ...]]:
        parts: list[npt.NDArray[np.int64]] = []
        rules: list[RuleConfig] = []
        traces: list[RuleTrace] = []
        leaves = self._leaf(segment)
        for target, combination in zip(targets, chain.tolist(), strict=True):
            if combination == NOT_REACHED:
                continue
            if combination < 0:
                status = "RECORD_TOO_OLD" if combination == TOO_OLD else "NO_RULE_MATCHED"
                traces.append(RuleTrace(target.rule.key, status, {}))
                continue
            parts.append(target.options(combination, len(rules), partial(self._scope, target.rule), leaves))
            rules.append(target.rule)
            traces.append(target.trace(combination))
        if len(parts) == 1:
            return parts[0], tuple(rules), tuple(traces)
        options = np.concatenate(parts) if parts else np.zeros((0, 7), dtype=np.int64)
        return options, tuple(rules), tuple(traces)

    def _class(self, options: npt.NDArray[np.int64], effort: int) -> int:
        """Return the class of these options and effort, whatever segment or rules they come from."""
        key = (options.tobytes(), effort)
        if key not in self.draft.known:
            self.draft.known[key] = len(self.draft.options)
            self.draft.options.append(options)
            self.draft.efforts.append(effort)
        return self.draft.known[key]

    def _room(self, segment: SegmentConfig, rule: RuleConfig) -> npt.NDArray[np.bool_]:
        """Return which sellers have room for one more record of a segment: bool, shape (m,)."""
        room = np.ones(len(self.pool.sellers), dtype=np.bool_)
        node = self._leaf(segment) if rule.use_capacity else np.full(len(room), -1)
        free, parent = np.array(self.cap_free, dtype=np.int64), np.array(self.cap_parent, dtype=np.int64)
        while (inside := node >= 0).any():
            room[inside] &= free[node[inside]] > 0
            node = np.where(inside, parent[node], -1)
        return room

    def _scope(self, rule: RuleConfig, seller: Ints, bucket: Ints) -> Ints:
        turns = f"{_TURNS_OF}{rule.key}" if self.config.turns_by_rule else "round_robin"
        if rule.message.policy == segment_pb2.POLICY_BEST_FIT:
            return np.full(len(bucket), -1)
        if rule.message.policy == segment_pb2.POLICY_EARLIEST_FIRST_CONTACT:
            return np.full(len(bucket), self._contact_scope(rule.message.handling_minutes))
        if rule.shares:
            return self._shared_scopes(rule, seller, bucket)
        if rule.message.policy != segment_pb2.POLICY_LOAD_BALANCING:
            return np.full(len(bucket), self._scope_number(turns, Policy.ROUND_ROBIN))
        balance = self._scope_number("load_balancing", Policy.LOAD_BALANCING)
        if not bucket.any():
            return np.full(len(bucket), balance)
        # Whoever is not available now takes turns instead.
        return np.where(bucket == 0, balance, self._scope_number(turns, Policy.ROUND_ROBIN))

    def _shared_scopes(self, rule: RuleConfig, seller: Ints, bucket: Ints) -> Ints:
        """Return scopes of shares, one for each availability: shares hold among those who can take a record equally soon."""
        found = np.full(len(bucket), -1)
        for soon in np.unique(bucket).tolist():
            policy = Policy.EVEN_VALUE if rule.evens_value else Policy.WEIGHTED_SHARES
            number = self._scope_number(f"{policy.lower()}:{rule.key}" + (f":{soon}" if soon else ""), policy)
            self.books.rule_of[number] = rule.key
            found[bucket == soon] = number
        # Whoever has no room can get nothing, and has no share.
        return np.where(self.books.has_room(rule.key, seller), found, -1)

    def _contact_scope(self, minutes: int) -> int:
        """Return the scope of rules whose records take so many minutes: what a seller has to do is one thing for all of them."""
        number = self._scope_number(f"earliest_first_contact:{minutes}", Policy.EARLIEST_FIRST_CONTACT)
        self._handling_us[number] = minutes * MINUTE_US
        return number

    def _scope_number(self, name: str, policy: Policy) -> int:
        if (name, policy) not in self.scopes:
            self.scopes.append((name, policy))
        return self.scopes.index((name, policy))

    def _leaf(self, segment: SegmentConfig) -> Ints:
        """Return the capacity node at which units of a segment count first, by seller: int64, shape (m,)."""
        if segment.id not in self._leaves:
            record_type = segment.message.record_type
            around = np.arange(len(self.pool.sellers), dtype=np.int64)
            node = self._nest(f"type {record_type}", around, self.pool.free_in("record_type", record_type), record_type=record_type)
            for kept_for, free in self.pool.reserves(record_type):
                if segment.id not in kept_for:
                    node = self._nest(f"outside {sorted(kept_for)}", node, free, record_type=record_type)
            free = self.pool.free_in("segment", segment.id)
            self._leaves[segment.id] = self._nest(f"segment {segment.id}", node, free, segment=segment.id)
        return self._leaves[segment.id]

    def _nest(self, name: str, around: Ints, free: Mapping[int, int], **kind: str) -> Ints:
        """Return the nodes of a further maximum, by seller; who has none stays at the node around."""
        if name not in self._leaves:
            nodes = around.copy()
            for index, left in sorted(free.items()):
                self.cap_parent.append(int(around[index]))
                self.cap_free.append(left)
                self.cap_names.append(CapName(index, **kind))
                nodes[index] = len(self.cap_free) - 1
            self._leaves[name] = nodes
        return self._leaves[name]

    def problem(self, priority: Ints, age_us: Ints, value: Ints) -> Problem:
        """Return the problem; `priority`, `age_us` and `value` are those of the batch's rows."""
        rows = self.rows()
        options = np.concatenate(self.draft.options) if self.draft.options else np.zeros((0, 7), dtype=np.int64)
        lengths = [len(o) for o in self.draft.options]
        return Problem(
            class_of=np.concatenate(self.draft.class_of) if self.draft.class_of else np.zeros(0, dtype=np.int32),
            priority=priority[rows],
            age_us=age_us[rows],
            # Rows of a batch are in the order of the records' ids.
            key=rows,
            effort=np.array(self.draft.efforts, dtype=np.int64),
            option_start=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            option_seller=options[:, 0].astype(np.int32),
            option_rank=options[:, 1].copy(),
            option_bucket=options[:, 2].copy(),
            option_fit=fit_costs(options[:, 3]),
            option_scope=options[:, 4].astype(np.int32),
            option_cap=options[:, 5].astype(np.int32),
            cap_free=np.array(self.cap_free, dtype=np.int64),
            cap_parent=np.array(self.cap_parent, dtype=np.int32),
            scopes=tuple(self._made_scope(number, options) for number in range(len(self.scopes))),
            option_continuity=_missed(options[:, 6], MISSES_CONTINUITY),
            option_preferred=_missed(options[:, 6], MISSES_PREFERRED),
            value=value[rows],
            together=_numbered([name for part in self.draft.together for name in part]),
        )

    def rows(self) -> npt.NDArray[np.int64]:
        """Return the batch's rows of the problem's records: int64."""
        return np.concatenate(self.draft.rows) if self.draft.rows else np.zeros(0, dtype=np.int64)

    def chain_numbers(self) -> npt.NDArray[np.int64]:
        """Return for each record of the problem its position in the draft's chains and traces: int64."""
        return np.concatenate(self.draft.chain_of) if self.draft.chain_of else np.zeros(0, dtype=np.int64)

    def cap_ways(self, segment: SegmentConfig) -> list[list[int]]:
        """Return the capacity nodes that a unit of a segment passes, from the inside out, by seller."""
        ways = [[node] for node in self._leaf(segment).tolist()]
        for way in ways:
            while (around := self.cap_parent[way[-1]]) >= 0:
                way.append(around)
        return ways

    def scores(self) -> Ints:
        """Return the score of each option of the problem in steps: int64, shape (options,)."""
        return np.concatenate([options[:, 3] for options in self.draft.options]) if self.draft.options else np.zeros(0, dtype=np.int64)

    def score_of(self, option: int) -> int:
        """Return the score of one option of the problem in steps."""
        return int(self.scores()[option])

    def one_option(
        self, segment: SegmentConfig, rule: RuleConfig, seller: int, rank: int, score: int | None, misses: int
    ) -> dict[str, int]:
        """Return an option that a rule does not have, as if it allowed the seller and the seller were available now.

        Without a score it costs at the fit what the worst option does.
        """
        one, now = np.array([seller], dtype=np.int64), np.zeros(1, dtype=np.int64)
        costs = fit_costs(np.append(self.scores(), NO_SCORE if score is None else score))
        return {
            "seller": seller,
            "rank": rank,
            "bucket": 0,
            "fit": int(costs[-1] if score is not None else costs.max(initial=0)),
            "scope": int(self._scope(rule, one, now)[0]),
            "cap": int(self._leaf(segment)[seller]) if rule.use_capacity else -1,
            "continuity": int(bool(misses & MISSES_CONTINUITY)),
            "preferred": int(bool(misses & MISSES_PREFERRED)),
        }

    def _made_scope(self, number: int, options: Ints) -> Scope:
        pool, (name, policy) = self.pool, self.scopes[number]
        if policy not in NEEDED:
            turn = pool.turn_by(name.removeprefix(_TURNS_OF)) if name.startswith(_TURNS_OF) else pool.turn
            return Scope(name, policy, np.arange(len(pool.sellers), dtype=np.int32), pool.priority, turn, pool.free)
        own = np.unique(options[options[:, 4] == number, 0])
        standing = self.books.standing_of(number, own) if number in self.books.rule_of else self._contacts(number, own)
        return Scope(name, policy, own.astype(np.int32), pool.priority[own], pool.turn[own], pool.free[own], standing)

    def _contacts(self, number: int, seller: Ints) -> Contacts:
        timetables = Timetables.of([self.pool.calendars[place] for place in seller.tolist()], self.now_us)
        return Contacts(self.pool.owned[seller], self._handling_us[number], timetables)


def _numbered(names: Sequence[str]) -> Ints:
    """Return a number for each name, -1 for ""; nothing where there are no names."""
    if not any(names):
        return np.zeros(0, dtype=np.int64)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(name for name in names if name))}
    return np.array([numbers.get(name, -1) for name in names], dtype=np.int64)


def _missed(misses: Ints, what: int) -> Ints:
    """Return where something is missed, 1 each; nothing where nothing ever is, so that the level does not arise."""
    missed = (misses & what) // what
    return missed if missed.any() else np.zeros(0, dtype=np.int64)


def _widest(rule: segment_pb2.Rule) -> int:
    if not rule.HasField("available_within"):
        return UNAVAILABLE
    days = -(-rule.available_within.ToSeconds() // 86_400)
    return int(min(max(days, 0), WIDEST_BUCKET))
