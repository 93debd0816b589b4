"""Moves of a plan that are committed as prepared rows do just what the same moves do one by one, or nothing at all."""

import random
from dataclasses import replace
from typing import Any

import pytest

from reallot.storage import Database, RecordFilter, WriteTransaction
from reallot.storage.entities import Decision, Limits, Outcome, Owner, OwnerKind, Record, Transition
from reallot.storage.moves import STATE, Move, Pattern, Taken, changes_between, enrollment_columns, move_of, state_of
from reallot.storage.numbering import NOW
from reallot.storage.prepared import prepare
from support.rows import a_record, a_seller, all_records, an_event, change, create, loads, recount

SELLERS = ("ann", "ben", "cy")
NOW_US = 7_000


def limits(total: int | None) -> dict[str, Limits]:
    return {seller: Limits(total, {}, {}, frozenset({"lead"})) for seller in SELLERS}


def a_plan(records: list[Record], chance: random.Random) -> list[Move]:
    """Return moves that give, take and leave records, as a worker writes them up."""
    patterns: dict[tuple[object, ...], Pattern] = {}
    moves = []
    for place, before in enumerate(records):
        seller = chance.choice(("", *SELLERS))
        owner = Owner(OwnerKind.SELLER, seller) if seller else None
        after = replace(before, owner=owner, assignment="ASSIGNED" if seller else "NO_CAPACITY", reason=f"to {seller}", run_id="run-1")
        told = an_event(before.record_id, notify=[seller] if seller else [], before={"o": 1}, after={"o": seller}, time_us=NOW)
        line = Decision(before.record_id, NOW, {"kind": "RUN"}, after.assignment, "why", run_id="run-1", considered=[place % 2])
        move = move_of(Transition(before, after, event=replace(told, sentence={"n": place}), decision=line), NOW_US, {})
        shared = move.pattern._replace(
            written=None,
            changes=changes_between(state_of(before, enrollment_columns(before)), state_of(after, enrollment_columns(after))),
            turn=Taken(seller, "lead") if seller else None,
            binding=bool(seller),
            looks=place % 3 == 0,
        )
        # Equal patterns are one object, as they are in a plan.
        pattern = patterns.setdefault(
            (shared.version, shared.state, str(shared.event), shared.weight, shared.weight_after, shared.looks), shared
        )
        moves.append(move._replace(pattern=pattern, place=place))
    return moves


def everything(db: Database, workspace: str) -> dict[str, Any]:
    """Return all that a commit writes, by workspace-free values."""

    def read(tx: Any) -> dict[str, Any]:
        lines = [line for record_id in sorted(r.record_id for r in tx.records.page(workspace, RecordFilter(), limit=9_999))
                 for line in tx.decisions.of_record(workspace, record_id, None, 99)]  # fmt: skip
        return {
            "records": tx.records.page(workspace, RecordFilter(), limit=9_999),
            "decisions": [replace(line, decision_id=0) for line in lines],
            "events": tx.events.after(workspace, 0, 9_999),
            "notices": [tx.events.notices_after(workspace, seller, 0, 9_999) for seller in SELLERS],
            "loads": tx.sellers.loads(workspace),
            "turns": tx.sellers.turns(workspace),
            "looks": tx.steps.due(workspace, 10**9, 9_999),
        }

    return db.read(read)


def set_up(db: Database, workspace: str, chance: random.Random, count: int) -> list[Record]:
    db.write(workspace, lambda tx: tx.sellers.upsert(workspace, [a_seller(seller) for seller in SELLERS]))
    owners = [chance.choice(("", *SELLERS)) for _ in range(count)]
    create(db, workspace, *(a_record(f"r{n:03}", seller=owner, effort=1 + n % 2) for n, owner in enumerate(owners)))
    for n in range(0, count, 7):
        change(db, workspace, f"r{n:03}", priority=60)
    return all_records(db, workspace)


@pytest.mark.parametrize(("seed", "count"), [(1, 1), (2, 40), (3, 260)])
def test_prepared_moves_do_what_the_moves_do(db: Database, ws: str, seed: int, count: int) -> None:
    both = {}
    for way in ("prepared", "one by one"):
        workspace, chance = f"{ws}-{way}", random.Random(seed)
        moves = a_plan(set_up(db, workspace, chance, count), chance)

        def commit(tx: WriteTransaction, way: str = way, workspace: str = workspace, moves: list[Move] = moves) -> None:
            first = tx.draw_turns(workspace, count)
            if way == "prepared":
                ready = prepare(moves, untold={"cy"})
                assert ready is not None
                assert tx.commit_prepared(workspace, ready, limits(None), first)
            else:
                outcomes = tx.commit_moves(workspace, moves, limits(None), first, untold={"cy"})
                assert set(outcomes) == {Outcome.COMMITTED}

        db.write(workspace, commit)
        both[way] = everything(db, workspace)
        assert loads(db, workspace) == recount(all_records(db, workspace))
    assert both["prepared"] == both["one by one"]


@pytest.mark.parametrize("fault", ["changed", "deleted", "full", "seller gone"])
def test_nothing_is_written_when_one_cannot_be_carried_out(db: Database, ws: str, fault: str) -> None:
    chance = random.Random(5)
    records = set_up(db, ws, chance, 230)
    moves = a_plan(records, chance)
    taken = next(move for move in moves if move.pattern.turn is not None)
    allowed = limits(1 if fault == "full" else None)
    if fault == "changed":
        change(db, ws, moves[-1].record_id, priority=99)
    elif fault == "deleted":
        before = next(r for r in records if r.record_id == moves[0].record_id)
        db.write(ws, lambda tx: tx.commit_records(ws, [Transition(before, None)]))
    elif fault == "seller gone":
        assert taken.pattern.turn is not None
        del allowed[taken.pattern.turn.seller_id]
    before_all = everything(db, ws)
    ready = prepare(moves)
    assert ready is not None
    assert not db.write(ws, lambda tx: tx.commit_prepared(ws, ready, allowed, 1))
    assert everything(db, ws) == before_all


def test_moves_that_touch_more_than_the_road_writes_are_not_prepared(db: Database, ws: str) -> None:
    (record,) = set_up(db, ws, random.Random(1), 1)
    (move,) = a_plan([record], random.Random(1))
    assert prepare([move]) is not None
    assert len(move.pattern.state) == len(STATE)
    for other in ({"written": ()}, {"version": None}, {"state": ()}, {"decision": None}):
        assert prepare([move._replace(pattern=move.pattern._replace(**other))]) is None  # type: ignore[arg-type]
