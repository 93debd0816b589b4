"""Sellers, their turns and their absences."""

from reallot.storage import Database
from reallot.storage.entities import Owner, OwnerKind, Seller, TimeOff, Turn
from support.rows import a_record, a_seller, change, create


def add(db: Database, ws: str, *sellers: Seller) -> None:
    db.write(ws, lambda tx: tx.sellers.upsert(ws, sellers))


def test_a_seller_is_read_as_it_was_put(db: Database, ws: str) -> None:
    ann = a_seller(
        ramp_up={"weeks": 4},
        attributes={"region": "Süd", "level": 3, "tags": ["a"], "vip": True},
        skills={"french": 2},
        team_ids=("north", "south"),
        assignable=False,
        capacity={"total": 5, "by_segment": {"dach": 2}},
        calendar={"time_zone": "Europe/Berlin"},
        version=7,
        create_us=1,
        update_us=2,
    )
    add(db, ws, ann)
    assert db.read(lambda tx: tx.sellers.get(ws)) == {"ann": ann}


def test_a_second_upsert_replaces(db: Database, ws: str) -> None:
    add(db, ws, a_seller(weight=1), a_seller("ben"))
    add(db, ws, a_seller(weight=9))
    assert {s.seller_id: s.weight for s in db.read(lambda tx: tx.sellers.get(ws)).values()} == {"ann": 9, "ben": 1}


def test_only_the_wanted_sellers_that_exist_are_returned(db: Database, ws: str) -> None:
    add(db, ws, a_seller("ann"), a_seller("ben"), a_seller("cem"))
    assert list(db.read(lambda tx: tx.sellers.get(ws, ["cem", "ann", "nobody"]))) == ["ann", "cem"]
    assert db.read(lambda tx: tx.sellers.get(ws, [])) == {}


def test_pages_follow_each_other_by_id(db: Database, ws: str) -> None:
    add(db, ws, *(a_seller(f"s{n}") for n in range(5)))
    first = db.read(lambda tx: tx.sellers.page(ws, limit=2))
    rest = db.read(lambda tx: tx.sellers.page(ws, first[-1].seller_id, 9))
    assert [s.seller_id for s in [*first, *rest]] == ["s0", "s1", "s2", "s3", "s4"]


def test_a_removed_seller_takes_turns_and_absences_along(db: Database, ws: str) -> None:
    add(db, ws, a_seller("ann"), a_seller("ben"))
    db.write(ws, lambda tx: tx.sellers.set_turns(ws, [Turn("ann", "lead", 1, 1), Turn("ben", "lead", 2, 2)]))
    db.write(ws, lambda tx: tx.sellers.add_time_off(ws, [TimeOff("ann", "t", 1, 9), TimeOff("ben", "t", 1, 9)]))
    assert db.write(ws, lambda tx: tx.sellers.delete(ws, ["ann", "nobody"])) == 1
    left = db.read(lambda tx: (list(tx.sellers.get(ws)), tx.sellers.turns(ws), tx.sellers.time_off(ws, 0)))
    assert left == (["ben"], [Turn("ben", "lead", 2, 2)], [TimeOff("ben", "t", 1, 9)])


def test_owned_records_count_whether_active_or_not(db: Database, ws: str) -> None:
    team = Owner(OwnerKind.TEAM, "ann")
    create(db, ws, a_record("a", seller="ann"), a_record("b", seller="ann", active=False), a_record("c", owner=team))
    assert db.read(lambda tx: tx.sellers.owned_count(ws, "ann")) == 2


def test_absences_are_listed_while_they_last(db: Database, ws: str) -> None:
    past, now, later = TimeOff("ann", "past", 1, 10), TimeOff("ann", "now", 5, 11), TimeOff("ben", "later", 50, 60, "sea")
    db.write(ws, lambda tx: tx.sellers.add_time_off(ws, [later, past, now]))
    assert db.read(lambda tx: tx.sellers.time_off(ws, 10)) == [now, later]
    assert db.read(lambda tx: tx.sellers.time_off(ws, 10, ["ben"])) == [later]


def test_an_absence_with_the_same_id_is_replaced_and_can_be_removed(db: Database, ws: str) -> None:
    db.write(ws, lambda tx: tx.sellers.add_time_off(ws, [TimeOff("ann", "t", 1, 9)]))
    db.write(ws, lambda tx: tx.sellers.add_time_off(ws, [TimeOff("ann", "t", 2, 8)]))
    assert db.read(lambda tx: tx.sellers.time_off(ws, 0)) == [TimeOff("ann", "t", 2, 8)]
    assert db.write(ws, lambda tx: tx.sellers.remove_time_off(ws, "ann", ["t", "u"])) == 1
    assert db.read(lambda tx: tx.sellers.time_off(ws, 0)) == []


def test_each_unit_takes_the_next_turn_in_the_order_given(db: Database, ws: str) -> None:
    create(db, ws, a_record("a", seller="ann"), a_record("b", seller="ben"), a_record("c", seller="ann"), counts_turn=True)
    create(db, ws, a_record("d", seller="cem"), counts_turn=True)
    orders = {turn.seller_id: turn.order for turn in db.read(lambda tx: tx.sellers.turns(ws))}
    assert orders == {"ann": 3, "ben": 2, "cem": 4}


def test_a_change_that_counts_no_turn_leaves_the_order(db: Database, ws: str) -> None:
    create(db, ws, a_record(seller="ann"))
    change(db, ws, owner=Owner(OwnerKind.TEAM, "north"), parts={"counts_turn": True})
    assert db.read(lambda tx: tx.sellers.turns(ws)) == []


def test_turns_are_kept_by_record_type(db: Database, ws: str) -> None:
    create(db, ws, a_record("a", seller="ann"), a_record("b", seller="ann", record_type="deal"), counts_turn=True)
    assert [(t.record_type, t.order) for t in db.read(lambda tx: tx.sellers.turns(ws, ["ann"]))] == [("deal", 2), ("lead", 1)]


def test_turns_brought_along_are_followed_by_greater_ones(db: Database, ws: str) -> None:
    db.write(ws, lambda tx: tx.sellers.set_turns(ws, [Turn("ann", "lead", 40, 3)]))
    create(db, ws, a_record(seller="ben"), counts_turn=True)
    assert [(t.seller_id, t.order) for t in db.read(lambda tx: tx.sellers.turns(ws))] == [("ann", 40), ("ben", 41)]


def test_a_turn_that_was_drawn_before_does_not_replace_a_later_one(db: Database, ws: str) -> None:
    db.write(ws, lambda tx: tx.sellers.set_turns(ws, [Turn("ann", "lead", 5, 50), Turn("ben", "lead", 2, 20)]))
    drawn = [Turn("ann", "lead", 3, 60), Turn("ben", "lead", 4, 60), Turn("cleo", "lead", 1, 60)]
    db.write(ws, lambda tx: tx.sellers.take_turns(ws, drawn))
    left = [(t.seller_id, t.order, t.time_us) for t in db.read(lambda tx: tx.sellers.turns(ws))]
    assert left == [("ann", 5, 60), ("ben", 4, 60), ("cleo", 1, 60)]


def test_more_sellers_than_fit_into_one_statement_can_be_asked_for(db: Database, ws: str) -> None:
    many = [f"s{n:05}" for n in range(40_000)]
    create(db, ws, a_record("a", seller="s00001"), a_record("b", seller="s39999"), counts_turn=True)
    db.write(ws, lambda tx: tx.sellers.add_time_off(ws, [TimeOff("s39999", "t", 1, 9)]))
    seen = db.read(
        lambda tx: (tx.sellers.get(ws, many), tx.sellers.turns(ws, many), tx.sellers.loads(ws, many), tx.sellers.time_off(ws, 0, many))
    )
    assert [len(part) for part in seen] == [0, 2, 2, 1]


def test_members_are_found_by_team(db: Database, ws: str) -> None:
    teams = {"ann": ("north", "south"), "ben": ("south",), "cem": ()}
    add(db, ws, *(a_seller(name, team_ids=team_ids) for name, team_ids in teams.items()))
    assert db.read(lambda tx: tx.sellers.members(ws, {"south", "nobody"})) == {"south": ["ann", "ben"]}
    assert db.read(lambda tx: tx.sellers.members(ws, set())) == {}
