"""What rules that give by shares have given: counted by rule and pool, carried over at changes, on both engines."""

from fractions import Fraction

from reallot.storage import Database
from reallot.storage.shares import SCALE, ShareAccount, SharePool
from support.rows import a_seller


def a_pool(rule_id: str = "leads/all", absent: tuple[str, ...] = (), full: tuple[str, ...] = (), **weights: int) -> SharePool:
    return SharePool(rule_id, tuple(sorted(weights.items())), absent, full)


def count(db: Database, ws: str, pool: SharePool, **given: int) -> None:
    db.write(ws, lambda tx: tx.shares.count(ws, [pool], [(0, seller, number) for seller, number in given.items()]))


def standing(db: Database, ws: str, rule_id: str = "leads/all") -> dict[str, tuple[int, int, float]]:
    return {s.seller_id: (s.weight, s.given, s.carried / SCALE) for s in db.read(lambda tx: tx.shares.of(ws, [rule_id]))}


def test_what_is_given_adds_up_while_the_pool_stays(db: Database, ws: str) -> None:
    count(db, ws, a_pool(ann=2, ben=1), ann=3)
    count(db, ws, a_pool(ann=2, ben=1), ann=1, ben=2)
    assert standing(db, ws) == {"ann": (2, 4, 0.0), "ben": (1, 2, 0.0)}


def test_another_pool_takes_deviations_along_and_leaves_other_rules_alone(db: Database, ws: str) -> None:
    other = a_pool("leads/other", ann=1, ben=1)
    count(db, ws, other, ann=7, ben=6)
    count(db, ws, a_pool(ann=1, ben=1), ann=3, ben=2)
    count(db, ws, a_pool(ann=1, ben=1, cy=2), cy=1)
    # Half a record is lacking to ben, ann is half a record ahead, and cy begins between them.
    assert standing(db, ws) == {"ann": (1, 0, -0.5), "ben": (1, 0, 0.5), "cy": (2, 1, 0.0)}
    assert standing(db, ws, "leads/other") == {"ann": (1, 7, 0.0), "ben": (1, 6, 0.0)}


def test_whoever_comes_back_begins_where_the_others_stand(db: Database, ws: str) -> None:
    count(db, ws, a_pool(ann=1, ben=1, cy=1), ann=1, ben=9, cy=8)
    count(db, ws, a_pool(absent=("ann",), ben=1, cy=1), ben=1, cy=1)
    assert set(standing(db, ws)) == {"ben", "cy"}
    count(db, ws, a_pool(ann=1, ben=1, cy=1), ann=1)
    found = standing(db, ws)
    # What ann took along is lacking to both in equal parts; ann is on their mean.
    assert [round(found[s][2], 6) for s in ("ann", "ben", "cy")] == [-2.5, -3.0, -2.0]


def test_whoever_is_full_in_the_end_is_forgotten(db: Database, ws: str) -> None:
    count(db, ws, a_pool(full=("ann",), ann=1, ben=1), ann=1, ben=99)
    assert set(standing(db, ws)) == {"ben"}


def test_rules_that_are_gone_and_sellers_who_are_deleted_leave_nothing(db: Database, ws: str) -> None:
    db.write(ws, lambda tx: tx.sellers.upsert(ws, [a_seller("ann")]))
    for rule in ("leads/all", "leads/other"):
        count(db, ws, a_pool(rule, ann=1, ben=1), ann=1)
    db.write(ws, lambda tx: tx.shares.keep(ws, ["leads/all"]))
    db.write(ws, lambda tx: tx.sellers.delete(ws, ["ann"]))
    assert set(standing(db, ws)) == {"ben"}
    assert standing(db, ws, "leads/other") == {}


def test_pools_that_take_turns_lose_nothing_but_fractions() -> None:
    """Records of two kinds, each with a pool of its own that shares a seller with the other."""
    account, due = ShareAccount("leads/all", []), dict.fromkeys(("ann", "ben", "cy"), Fraction(0))
    pools: list[dict[str, int]] = [{"ann": 2, "ben": 1}, {"ann": 2, "cy": 3}]
    for pool in pools:
        account.enter(pool)
    for number in range(200):
        pool = pools[number % 2]
        account.enter(pool)
        account.give({"ann": 1})
        for seller, weight in pool.items():
            due[seller] += Fraction(weight, sum(pool.values())) - (seller == "ann")
    account.enter({})
    assert set(account.rows) == set(due)
    assert all(abs(Fraction(row.carried, SCALE) - due[seller]) < Fraction(1, 10**6) for seller, row in account.rows.items())
