"""Loads always equal a recount, and no binding claim takes a seller above a maximum, in whatever order things happen."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from reallot.storage import Database, WriteTransaction
from reallot.storage.entities import Claim, Limits, Load, OfferTerms, Outcome, Owner, OwnerKind, Record, Reserve, Seller, Transition, Window
from support.cases import cases
from support.rows import a_claim, a_record, all_records, change, commit, create, loads, recount, remove, stored

ANN, BEN = Owner(OwnerKind.SELLER, "ann"), Owner(OwnerKind.SELLER, "ben")
COMMITTED, LOST = Outcome.COMMITTED, Outcome.CAPACITY_LOST


def give(db: Database, ws: str, claim: Claim | None, **owners: Owner | None) -> list[Outcome]:
    """Give records to owners in one call, each under the same claim."""
    before = [stored(db, ws, name) for name in owners]
    return commit(db, ws, *(Transition(b, replace(b, owner=owners[b.record_id]), claim=claim) for b in before))


def test_a_record_weighs_on_its_seller_by_type_and_segment(db: Database, ws: str) -> None:
    create(db, ws, a_record("a", seller="ann", effort=3, segment_id="x"), a_record("b", seller="ann", effort=2, segment_id="x"))
    assert loads(db, ws) == [Load("ann", "lead", "x", 5, 2)]


@pytest.mark.parametrize("nobody", [a_record(), a_record(seller="ann", active=False), a_record(owner=Owner(OwnerKind.TEAM, "ann"))])
def test_what_no_seller_works_weighs_nothing(db: Database, ws: str, nobody: Record) -> None:
    create(db, ws, nobody)
    assert loads(db, ws) == []


def test_the_weight_follows_the_record(db: Database, ws: str) -> None:
    create(db, ws, a_record(seller="ann", effort=3))
    change(db, ws, segment_id="x", effort=2, owner=BEN)
    assert loads(db, ws) == [Load("ben", "lead", "x", 2, 1)]


@pytest.mark.parametrize("end", ["close", "delete", "release"])
def test_what_ends_weighs_no_more(db: Database, ws: str, end: str) -> None:
    create(db, ws, a_record(seller="ann"))
    {
        "close": lambda: change(db, ws, active=False),
        "delete": lambda: remove(db, ws),
        "release": lambda: change(db, ws, owner=None),
    }[end]()
    assert loads(db, ws) == []


def test_a_claim_holds_up_to_the_maximum_in_the_order_given(db: Database, ws: str) -> None:
    create(db, ws, *(a_record(name) for name in "abc"))
    assert give(db, ws, a_claim(2), a=ANN, b=ANN, c=ANN) == [COMMITTED, COMMITTED, LOST]


def test_what_does_not_fit_leaves_room_for_what_does(db: Database, ws: str) -> None:
    create(db, ws, a_record("big", effort=3), a_record("small"))
    assert give(db, ws, a_claim(2), big=ANN, small=ANN) == [LOST, COMMITTED]


def test_a_lost_claim_leaves_the_record_untouched(db: Database, ws: str) -> None:
    create(db, ws, a_record())
    before = stored(db, ws)
    assert give(db, ws, a_claim(0), r1=ANN) == [LOST]
    assert (stored(db, ws), loads(db, ws)) == (before, [])


@pytest.mark.parametrize(
    ("claim", "fits"),
    [
        (a_claim(2), False),
        (a_claim(3), True),
        (a_claim(2, counted=["deal"]), True),
        (a_claim(by_record_type={"lead": 2}), False),
        (a_claim(by_record_type={"lead": 3, "deal": 0}), True),
        (a_claim(by_segment={"x": 1}), False),
        (a_claim(by_segment={"x": 2, "y": 0}), True),
    ],
)
def test_a_claim_is_held_to_each_maximum(db: Database, ws: str, claim: Claim, fits: bool) -> None:
    create(db, ws, a_record("old", seller="ann", segment_id="x"), a_record("other", seller="ann", segment_id="y"))
    create(db, ws, a_record("new", segment_id="x"))
    assert give(db, ws, claim, new=ANN) == [COMMITTED if fits else LOST]


def test_without_a_claim_a_seller_may_be_over(db: Database, ws: str) -> None:
    create(db, ws, a_record("a", seller="ann"), a_record("b"), a_record("c"))
    assert give(db, ws, None, b=ANN) == [COMMITTED]
    assert give(db, ws, a_claim(1), c=ANN) == [LOST]
    assert loads(db, ws) == [Load("ann", "lead", "", 2, 2)]


def test_a_later_release_in_the_call_makes_room(db: Database, ws: str) -> None:
    create(db, ws, a_record("new"), a_record("old", seller="ann"))
    assert give(db, ws, a_claim(1), new=ANN, old=None) == [COMMITTED, COMMITTED]


@pytest.mark.parametrize("sellers", [2, 3, 7])
def test_full_owners_swap_their_records_round(db: Database, ws: str, sellers: int) -> None:
    create(db, ws, *(a_record(f"r{n}", seller=f"s{n}") for n in range(sellers)))
    round_robin = {f"r{n}": Owner(OwnerKind.SELLER, f"s{(n + 1) % sellers}") for n in range(sellers)}
    assert give(db, ws, a_claim(1), **round_robin) == [COMMITTED] * sellers


def test_a_swap_that_a_third_hinders_is_lost_with_it(db: Database, ws: str) -> None:
    create(db, ws, a_record("a", seller="ann"), a_record("b", seller="ben"), a_record("c"))
    outcomes = give(db, ws, a_claim(1), a=BEN, b=ANN, c=ANN)
    assert (outcomes, loads(db, ws)) == ([COMMITTED, COMMITTED, LOST], recount(all_records(db, ws)))


def test_the_last_places_go_to_as_many_as_there_are(db: Database, ws: str) -> None:
    create(db, ws, *(a_record(f"r{n}") for n in range(40)))
    outcomes: list[Outcome] = []

    def take(part: int) -> None:
        for n in range(part, 40, 4):
            outcomes.extend(give(db, ws, a_claim(25), **{f"r{n}": ANN}))

    threads = [threading.Thread(target=take, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(COMMITTED) == 25
    assert loads(db, ws) == [Load("ann", "lead", "", 25, 25)]


@pytest.mark.parametrize("ends_as", ["LAPSED", "EXPIRED"], ids=["claim", "offer"])
@pytest.mark.parametrize("end", ["accepted", "given back", "closed"])
def test_what_is_held_takes_its_place_in_a_window_at_once_and_gives_it_back(db: Database, ws: str, ends_as: str, end: str) -> None:
    window = Window(1, 10**12)
    limits = replace(a_claim(9).limits, windows=(window,))
    ann = Seller("ann", capacity={"windows": [{"count": 1, "duration_us": 10**12}]})
    db.write(ws, lambda tx: tx.sellers.upsert(ws, [ann]))
    create(db, ws, *(a_record(name) for name in "abc"))

    def hold(name: str) -> Outcome:
        before, terms = stored(db, ws, name), OfferTerms("ann", "", None, 10**15, ends_as)
        # Who is offered something has his turn with it; who claims has it on accepting.
        turn = ends_as != "LAPSED"
        after = replace(before, offered_to="ann", assignment="OFFERED")
        return commit(db, ws, Transition(before, after, claim=Claim(limits), offer_start=terms, counts_turn=turn))[0]

    def used() -> int:
        return sum(gain.effort for gain in db.read(lambda tx: tx.sellers.windows.gains(ws, {"ann": (window,)}, 1_000)))

    assert [hold("a"), hold("b"), used()] == [COMMITTED, LOST, 1]
    held = stored(db, ws, "a")
    after = {"accepted": replace(held, owner=ANN, offered_to=""), "given back": replace(held, offered_to="")}.get(end)
    commit(db, ws, Transition(held, after or replace(held, active=False), counts_turn=end == "accepted" and ends_as == "LAPSED"))
    assert used() == (1 if end == "accepted" else 0)
    assert hold("b") == (LOST if end == "accepted" else COMMITTED)
    assert loads(db, ws) == recount(all_records(db, ws))


@dataclass(frozen=True)
class Step:
    """What happens to one record: the state that it comes into, None = it is deleted."""

    name: str
    state: Record | None


@dataclass(frozen=True)
class Batch:
    """Steps of one call; a binding one claims under `MAXIMA`."""

    steps: tuple[Step, ...]
    binding: bool


MAXIMA = Limits(3, {"lead": 2}, {"x": 2}, frozenset({"lead", "deal"}), reserves=(Reserve("deal", frozenset({"x"}), 2),))
names = st.sampled_from([f"r{n}" for n in range(7)])
states = st.builds(
    a_record,
    seller=st.sampled_from(["", "ann", "ben", "cem"]),
    record_type=st.sampled_from(["lead", "deal", "other"]),
    segment_id=st.sampled_from(["", "x"]),
    effort=st.integers(0, 2),
    active=st.sampled_from([True, True, True, False]),
)
steps = st.lists(st.builds(Step, names, states | st.none()), min_size=1, max_size=7, unique_by=lambda s: s.name).map(tuple)
histories = st.lists(st.builds(Batch, steps, st.booleans()), min_size=1, max_size=6)


def within_maxima(taken: Record, records: Sequence[Record], held: Sequence[Record] | None = None) -> bool:
    """Tell from the records alone whether the owner of `taken` is within those of `MAXIMA` that it counts in (the oracle).

    `held` are the records that what is kept for deals in x is looked at with, None = all.

    Another type or segment may stand above its maximum already, by writes that claim nothing.
    """
    mine = [r for r in records if r.active and r.owner == taken.owner]
    total = sum(r.effort for r in mine if r.record_type in MAXIMA.counted_types)
    of_type = sum(r.effort for r in mine if r.record_type == taken.record_type)
    of_segment = sum(r.effort for r in mine if r.segment_id == taken.segment_id)
    most_of_type = MAXIMA.by_record_type.get(taken.record_type, of_type)
    # One unit is kept for deals in x: no other deal takes it.
    before_it = mine if held is None else [r for r in held if r.active and r.owner == taken.owner]
    elsewhere = sum(r.effort for r in before_it if r.record_type == "lead" or (r.record_type == "deal" and r.segment_id != "x"))
    if taken.record_type == "deal" and taken.segment_id != "x" and elsewhere > 2:
        return False
    return total <= (MAXIMA.total or 0) and of_type <= most_of_type and of_segment <= MAXIMA.by_segment.get(taken.segment_id, of_segment)


def carry_out(batch: Batch, ws: str) -> Callable[[WriteTransaction], tuple[list[Transition], list[Outcome]]]:
    """Return the unit of work of a batch: what it asked for and what became of it."""

    def work(tx: WriteTransaction) -> tuple[list[Transition], list[Outcome]]:
        found = tx.records.get(ws, [step.name for step in batch.steps])
        claim = Claim(MAXIMA) if batch.binding else None
        asked = [
            Transition(found.get(step.name), replace(step.state, record_id=step.name) if step.state else None, claim=claim)
            for step in batch.steps
            if step.name in found or step.state
        ]
        return asked, tx.commit_records(ws, asked)

    return work


def after_these(before: Sequence[Record], transitions: Sequence[Transition]) -> list[Record]:
    """Return the records as they are once `transitions` are carried out (the oracle)."""
    state = {record.record_id: record for record in before}
    for t in transitions:
        if t.before is not None:
            del state[t.before.record_id]
        if t.after is not None:
            state[t.after.record_id] = t.after
    return list(state.values())


def taken_by(transitions: Sequence[Transition]) -> list[Record]:
    """Return the records that come to an owner, as they do."""
    return [t.after for t in transitions if t.after and t.after.active and t.after.owner]


def check_claims(before: Sequence[Record], asked: Sequence[Transition], outcomes: Sequence[Outcome]) -> None:
    """Hold the outcome of binding transitions to its three promises."""
    kept = [t for t, outcome in zip(asked, outcomes, strict=True) if outcome is COMMITTED]
    lost = [t for t, outcome in zip(asked, outcomes, strict=True) if outcome is LOST]
    after = after_these(before, kept)
    # What is kept for deals in x binds other deals only, when they come: leads may use it up behind them.
    assert all(within_maxima(record, after, held=()) for record in taken_by(kept)), "a claim went above a maximum"
    whole = after_these(before, asked)
    assert lost == [] or not all(within_maxima(record, whole) for record in taken_by(asked)), "all would have fitted"
    for t in lost:
        further = after_these(after, [t])
        assert not all(within_maxima(record, further) for record in taken_by([t])), "one more would have fitted"


@settings(deadline=None, max_examples=cases(100))
@given(histories)
def test_loads_equal_a_recount_and_claims_their_maxima(db: Database, fresh_ws: Callable[[], str], history: list[Batch]) -> None:
    ws = fresh_ws()
    for batch in history:
        before = all_records(db, ws)
        asked, outcomes = db.write(ws, carry_out(batch, ws))
        after = all_records(db, ws)
        assert loads(db, ws) == recount(after)
        if batch.binding:
            check_claims(before, asked, outcomes)
        else:
            assert outcomes == [COMMITTED] * len(asked)


def test_a_load_that_is_not_the_sum_of_the_records_is_found(db: Database, ws: str) -> None:
    create(
        db, ws, a_record("a", seller="ann", effort=3, segment_id="x"), a_record("b", seller="ben", effort=2), a_record("c", active=False)
    )
    assert db.read(lambda tx: tx.reports.wrong_loads(ws)) == []
    damage = "UPDATE loads SET effort = 9 WHERE workspace = :ws AND seller_id = 'ann'"
    loss = "DELETE FROM loads WHERE workspace = :ws AND seller_id = 'ben'"
    for statement in (damage, loss):
        db.write(ws, lambda tx, s=statement: tx.connection.execute(text(s), {"ws": ws}))
    found = db.read(lambda tx: tx.reports.wrong_loads(ws))
    assert [tuple(wrong) for wrong in found] == [("ann", "lead", "x", 9, 3, 1, 1), ("ben", "lead", "", 0, 2, 0, 1)]
    create(db, f"{ws}-right", a_record("a", seller="ann", effort=9, segment_id="x"))
    assert db.read(lambda tx: tx.reports.with_wrong_loads()) == [ws]
    invention = "INSERT INTO loads (workspace, seller_id, record_type, segment_id, effort, records) VALUES (:ws, 'cem', 'lead', '', 4, 2)"
    db.write(ws, lambda tx: tx.connection.execute(text(invention), {"ws": ws}))
    assert len(db.write(ws, lambda tx: tx.reports.correct_loads(ws))) == 3
    assert db.read(lambda tx: (tx.reports.wrong_loads(ws), tx.reports.with_wrong_loads())) == ([], [])
    assert loads(db, ws) == recount(all_records(db, ws))
