"""What a run did, taken back: for every record that nobody has touched since, in parts that hold up no other write.

Nothing is kept between the parts: a record that was put back says so in its own log, so a call that was cut off is simply repeated, and
counts what it finds done. The road's own runs may go on meanwhile; what they touch is left alone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from reallot.server.convert.decisions import state_message
from reallot.server.convert.records import state_text
from reallot.server.errors import failed_precondition
from reallot.server.idempotency import answered_before, once
from reallot.server.lanes import ENDED
from reallot.server.languages import Catalogue, speech_of
from reallot.server.languages.saying import say
from reallot.server.road.batch import Handed
from reallot.server.road.change import freed_sellers
from reallot.server.road.commit import Digests, limits_of
from reallot.server.road.events import concerned, enrolled, event_of, owner_name
from reallot.server.road.shares import counted_value
from reallot.server.road.undo import Done, Obstacle, former_place_gone, put_back, touched_since, undo_cause
from reallot.server.runtime import Runtime, request_rerun
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.capacity import settle, weight_of
from reallot.storage.documents import load
from reallot.storage.entities import Claim, Decision, Json, Outcome, Owner, OwnerKind, Record, Run, Seller, Transition
from reallot.storage.shares import SCALE
from reallot.v1 import assignment_service_pb2 as pb

PART = 500
"""Lines of the run's log that are dealt with in one commit."""
NAMED = 1_000
"""Records that an answer names."""
NO_ROOM: Obstacle = ("NO_CAPACITY", say("former_owner_full"))


@dataclass(frozen=True)
class Plan:
    """What is to be undone and how.

    Attributes:
        run: The run, which has ended.
        force: Former owners get their records back above their maxima, and though they take none at present.
        cause: Why, for events and the log.
        flooded: Sellers who get one digest instead of a notice for each record.
        forgotten: Changes of the run that the log does not hold any more.
        members: Sellers by team, of the teams that it concerns.
    """

    run: Run
    force: bool
    cause: Json
    flooded: frozenset[str] = frozenset()
    forgotten: int = 0
    members: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def handed(self, old: Owner | None, new: Owner | None, record_id: str) -> Handed:
        """Return a change of owner as flooded sellers are told of it."""
        losers, gainers = (tuple(s for s in concerned([owner], self.members) if s in self.flooded) for owner in (old, new))
        return Handed(losers, gainers, (record_id,))


@dataclass
class Tally:
    """What has become of the run's records so far.

    Attributes:
        undone: Records that are as before the run.
        fresh: Of these, those that this call has put back.
        left: Records that are left as they are, of which the first are `named`.
        moves: What becomes of the first records that are put back.
        told: Records that were put back of which flooded sellers would be told.
    """

    undone: int = 0
    fresh: int = 0
    left: int = 0
    named: list[pb.UndoLeft] = field(default_factory=list)
    moves: list[pb.PreviewedMove] = field(default_factory=list)
    told: list[Handed] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Add what became of further records."""
        self.undone += other.undone
        self.fresh += other.fresh
        self.left += other.left
        self.named = [*self.named, *other.named][:NAMED]
        self.moves = [*self.moves, *other.moves][:NAMED]
        self.told += other.told

    def answer(self, plan: Plan, *, shows_moves: bool = False) -> pb.UndoRunResponse:
        """Return the answer of the call."""
        moves = self.moves if shows_moves else []
        return pb.UndoRunResponse(undone=self.undone, left=self.left, left_records=self.named, forgotten=plan.forgotten, moves=moves)


@dataclass(frozen=True)
class Judged:
    """Lines of the run's log, judged by how their records stand.

    Attributes:
        plan: What is to be undone.
        transitions: What puts records back.
        again: Those whose records were put back by an earlier call.
        left: Records that are left as they are, and why.
    """

    plan: Plan
    transitions: list[Transition]
    again: list[Done]
    left: list[tuple[str, Obstacle]]

    def tally(self, outcomes: Sequence[Outcome], speech: Catalogue) -> Tally:
        """Return what the lines come to, with these outcomes of the transitions, in a language."""
        made = [t for t, outcome in zip(self.transitions, outcomes, strict=True) if outcome is Outcome.COMMITTED]
        full = [t for t, outcome in zip(self.transitions, outcomes, strict=True) if outcome is not Outcome.COMMITTED]
        left = [*self.left, *((t.after.record_id, NO_ROOM) for t in full if t.after is not None)]
        plan = self.plan
        told = [plan.handed(t.before.owner, t.after.owner, t.after.record_id) for t in made if t.before is not None and t.after is not None]
        told += [plan.handed(done.owners[1], done.owners[0], done.line.record_id) for done in self.again]
        return Tally(
            undone=len(made) + len(self.again),
            fresh=len(made),
            left=len(left),
            named=[_left(record_id, obstacle, speech) for record_id, obstacle in left],
            moves=[_move(t) for t in made],
            told=[line for line in told if line.losers != line.gainers],
        )


def _left(record_id: str, obstacle: Obstacle, speech: Catalogue) -> pb.UndoLeft:
    kind = pb.UndoObstacle.Value(f"UNDO_OBSTACLE_{obstacle[0]}")
    return pb.UndoLeft(record_id=record_id, obstacle=kind, text=speech.text(obstacle[1]))


def _move(transition: Transition) -> pb.PreviewedMove:
    before, after = (state_message(load(state_text(record))) for record in (transition.before, transition.after))
    return pb.PreviewedMove(record_id=transition.after.record_id if transition.after else "", before=before, after=after)


def judge(tx: ReadTransaction, config: WorkspaceConfig, plan: Plan, dones: Sequence[Done], now_us: int) -> Judged:
    """Return what becomes of the records of some lines of the run's log."""
    found = Judged(plan, [], [], [])
    by_id = {done.line.record_id: done for done in dones}
    records = tx.records.get(config.workspace, by_id)
    latest = tx.decisions.latest(config.workspace, [i for i, done in by_id.items() if touched_since(records.get(i), done)])
    sellers = tx.sellers.get(config.workspace, {seller for done in dones for seller in _sellers(done)})
    for record_id, done in by_id.items():
        record, last = records.get(record_id), latest.get(record_id)
        if record is not None and last is not None and _is_undoing(last, plan) and last.version == record.version:
            found.again.append(done)
            continue
        obstacle = touched_since(record, done) or former_place_gone(done, config) or _former_owner_away(done, config, sellers, plan)
        if obstacle is not None:
            found.left.append((record_id, obstacle))
        elif record is not None:
            found.transitions.append(_transition(config, plan, done, record, sellers, now_us))
    return found


def _is_undoing(line: Decision, plan: Plan) -> bool:
    cause = line.cause or {}
    return bool(cause.get("kind") == "UNDO" and cause.get("run_id") == plan.run.run_id)


def _former_owner_away(done: Done, config: WorkspaceConfig, sellers: Mapping[str, Seller], plan: Plan) -> Obstacle | None:
    owner = done.owners[0]
    if owner is None or not done.changes_owner:
        return None
    if owner.kind is not OwnerKind.SELLER:
        if plan.force or config.takes_records(owner.kind.lower(), owner.id):
            return None
        return "OWNER_NOT_ELIGIBLE", say("former_owner_inactive", owner=owner_name(owner, config))
    seller = sellers.get(owner.id)
    if seller is None:
        return "OWNER_GONE", say("former_owner_gone", owner=owner.id)
    if not (seller.assignable and seller.roles_ok) and not plan.force:
        return "OWNER_NOT_ELIGIBLE", say("former_owner_takes_none", owner=owner.id)
    return None


def _transition(config: WorkspaceConfig, plan: Plan, done: Done, before: Record, sellers: Mapping[str, Seller], now_us: int) -> Transition:
    after, change = put_back(before, done, config, plan.cause)
    taker = after.owner if done.changes_owner and not plan.force else None
    former = sellers.get(taker.id) if taker is not None and taker.kind is OwnerKind.SELLER else None
    names = {seller_id: seller.name for seller_id, seller in sellers.items()}
    shown = enrolled(before, after, change) if change is not None else after
    event = event_of(
        before, shown, config=config, time_us=now_us, cause=plan.cause, quiet=config.settings.paused, names=names, members=plan.members,
    )  # fmt: skip
    if event is not None:
        event = replace(event, notify=tuple(seller for seller in event.notify if seller not in plan.flooded))
    states = (state_text(before), state_text(shown))
    return Transition(
        before,
        after,
        claim=Claim(limits_of(former, config, now_us)) if former is not None else None,
        enrollment=change,
        event=event,
        decision=Decision(before.record_id, now_us, plan.cause, after.assignment, after.reason, *states, rule_id=after.rule_id),
    )


async def undo_run(runtime: Runtime, workspace: str, request: pb.UndoRunRequest) -> pb.UndoRunResponse:
    """Undo a run, or say what undoing it would do.

    Raises:
        ApiError: the run has not ended.
    """
    if request.validate_only:
        now_us = runtime.clock.now_us()
        return await runtime.read(lambda tx: _tried(tx, runtime.configs.of(tx, workspace), request, now_us))
    given = await runtime.read(lambda tx: answered_before(tx, request, workspace, pb.UndoRunResponse))
    if given is not None:
        return given
    plan = await runtime.read(lambda tx: _plan(tx, runtime.configs.of(tx, workspace), request))
    tally, after_id = Tally(), 0
    while True:
        made, last_id = await runtime.write(workspace, partial(_part, runtime, workspace, plan, after_id))
        if last_id == after_id:
            break
        tally.add(made)
        after_id = last_id
    return await runtime.write(workspace, once(request, workspace, pb.UndoRunResponse, partial(_finish, workspace, plan, tally)))


def _plan(tx: ReadTransaction, config: WorkspaceConfig, request: pb.UndoRunRequest) -> Plan:
    run = tx.runs.get(config.workspace, request.run_id)
    if run.state not in ENDED:
        text = f"run {run.run_id} has not ended: {run.state}"
        raise failed_precondition("RUN_NOT_ENDED", text, run=run.run_id, state=run.state)
    owners = segments = 0
    told: Counter[str] = Counter()
    members = tx.sellers.members(config.workspace, [team.team_id for team in config.all("team")])
    for done in (done for part in _parts(tx, config.workspace, run.run_id) for done in part):
        owners += done.changes_owner
        segments += done.changes_segment and bool(done.before.segment_id)
        told.update(concerned([owner for owner in done.owners if owner is not None], members))
    counted = run.counts.get("assigned", 0) + run.counts.get("released", 0)
    forgotten = max(0, counted - owners, run.counts.get("resegmented", 0) - segments)
    flooded = frozenset(seller for seller, times in told.items() if times > config.digest_above)
    return Plan(run, request.force, undo_cause(run.run_id, request.reason), flooded, forgotten, members)


def _parts(tx: ReadTransaction, workspace: str, run_id: str) -> Iterator[list[Done]]:
    after_id = 0
    while lines := tx.decisions.of_run(workspace, run_id, after_id, PART):
        yield _changes(lines)
        after_id = lines[-1].decision_id


def _changes(lines: Sequence[Decision]) -> list[Done]:
    return [done for done in map(Done, lines) if done.is_change]


def _sellers(done: Done) -> set[str]:
    return {owner.id for owner in done.owners if owner is not None and owner.kind is OwnerKind.SELLER} | {done.after.offered_seller_id} - {
        ""
    }


def _tried(tx: ReadTransaction, config: WorkspaceConfig, request: pb.UndoRunRequest, now_us: int) -> pb.UndoRunResponse:
    """Return what undoing would do, with the room that former owners have at present."""
    plan, tally = _plan(tx, config, request), Tally()
    account = tx.loads_of(config.workspace, list(tx.sellers.get(config.workspace)))
    for dones in _parts(tx, config.workspace, plan.run.run_id):
        judged = judge(tx, config, plan, dones, now_us)
        shifts = [(weight_of(t.before), weight_of(t.after), t.claim.limits if t.claim else None) for t in judged.transitions]
        tally.add(judged.tally(settle(account, shifts), speech_of(config)))
    return tally.answer(plan, shows_moves=True)


def _part(runtime: Runtime, workspace: str, plan: Plan, after_id: int, tx: WriteTransaction) -> tuple[Tally, int]:
    """Undo the next lines of the log; return what became of them, and the last of them."""
    lines = tx.decisions.of_run(workspace, plan.run.run_id, after_id, PART)
    if not lines:
        return Tally(), after_id
    config = runtime.configs.of(tx, workspace)
    judged = judge(tx, config, plan, _changes(lines), tx.now_us)
    outcomes = tx.commit_records(workspace, judged.transitions)
    made = [t for t, outcome in zip(judged.transitions, outcomes, strict=True) if outcome is Outcome.COMMITTED]
    request_rerun(tx, config, "CAPACITY_FREED", freed_sellers((t.before, t.after) for t in made))
    _take_back_shares(tx, config, {line.record_id: line.rule_id for line in lines}, made)
    return judged.tally(outcomes, speech_of(config)), lines[-1].decision_id


def _take_back_shares(tx: WriteTransaction, config: WorkspaceConfig, rule_of: Mapping[str, str], made: Sequence[Transition]) -> None:
    """Have rules that give by shares count the records that were put back as never given."""
    given: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for transition in made:
        before, after = transition.before, transition.after
        if before is None or after is None or before.owner is None or before.owner == after.owner:
            continue
        rule = config.rules.get(rule_of[before.record_id])
        if rule is None or not rule.shares:
            continue
        given[rule.key][before.owner.id] += counted_value(before.value_units) if rule.evens_value else 1
    for key, counts in sorted(given.items()):
        tx.shares.take_back(config.workspace, key, counts, 1 if config.rules[key].evens_value else SCALE)


def _finish(workspace: str, plan: Plan, tally: Tally, tx: WriteTransaction) -> pb.UndoRunResponse:
    """Note at the run what was undone, and tell flooded sellers what all of it comes to."""
    run = tx.runs.get(workspace, plan.run.run_id)
    tx.runs.update(workspace, replace(run, counts={**run.counts, "undone": tally.undone}))
    if tally.fresh:
        tx.events.append(workspace, Digests(plan.flooded, tuple(tally.told)).notices(run.run_id, tx.now_us))
        tx.signal(workspace, "events")
    return tally.answer(plan)
