"""Records of one group go together: to one owner, or to nobody, whatever else the batch brings."""

import pytest

from reallot.clients import Record, Seller

from world import Make, World, a_rule, a_segment, at, kinds, lead_type, quiet_settings

WAITS = {"on_arrival": "ON_ARRIVAL_WAIT"}


def a_floor(world: Make, *rules: dict[str, object], **parts: object) -> World:
    here = world()
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", *(rules or (a_rule(),)), **parts)])
    return here


def of(name: str, key: str, minute: int = 0, **parts: object) -> Record:
    return Record(name, "lead", {"company": key}, group_key=key, created_time=at(f"2026-03-05T08:{minute:02d}"), **parts)


def test_a_group_goes_whole_to_whom_has_room_for_all_of_it(world: Make) -> None:
    here = a_floor(world, **WAITS)
    here.sellers(Seller("ana", capacity=2), Seller("ben", capacity=4))
    # Three of acme, the oldest, and two single ones; one by one, ana would get two of acme.
    here.write(*(of(f"a{n}", "acme", n) for n in range(3)), of("b", "", 10), of("c", "", 11))
    run = here.run()
    assert here.owners("a0", "a1", "a2") == ["ben"] * 3
    assert set(here.owners("b", "c")) <= {"ana", "ben"}
    assert (run.counts.assigned, here.loads()) == (5, {"ana": 2, "ben": 3} if here.owner("b") == here.owner("c") else here.loads())
    assert kinds([n.event for n in here.notices("ben")])[:3] == ["ASSIGNED"] * 3


def test_a_group_that_nobody_has_room_for_waits_whole_and_says_so(world: Make) -> None:
    here = a_floor(world)
    here.sellers(Seller("ana", capacity=3), Seller("ben", capacity=3))
    here.write(*(of(f"a{n}", "acme", n, effort=2) for n in range(2)), of("b", "bolt", 10, effort=3))
    assert here.owners("a0", "a1") == ["", ""]
    assert here.owner("b") in ("ana", "ben")
    lead = here.record("a0")
    assert (here.status("a0"), lead.assignment.reason) == (
        "NO_CAPACITY",
        "it goes together with another record: nobody has room for all of them",
    )
    here.sellers(Seller("ana", capacity=10))
    here.run()
    assert here.owners("a0", "a1") == ["ana", "ana"]


def test_a_group_over_segments_and_types_goes_to_whom_all_rules_know(world: Make) -> None:
    here = world()

    def known(*names: str) -> dict[str, object]:
        return a_rule("some", target={"sellers": {"seller_ids": list(names)}})

    hot = a_segment("hot", known("ana", "ben"), condition='record.stage == "hot"', priority=1)
    here.apply(
        settings=quiet_settings(),
        record_types=[lead_type(), lead_type("deal")],
        segments=[hot, a_segment("rest", known("ben", "cid")), a_segment("deals", known("cid", "ben"), record_type="deal")],
    )
    here.sellers(Seller("ana"), Seller("ben"), Seller("cid"))
    here.write(
        Record("h", "lead", {"stage": "hot"}, group_key="k"), Record("r", "lead", group_key="k"), Record("d", "deal", group_key="k"),
        Record("x", "lead", {"stage": "hot"}, group_key="l"), Record("y", "lead", group_key="l"), Record("z", "lead", group_key="l"),
    )  # fmt: skip
    assert here.owners("h", "r", "d", "x", "y", "z") == ["ben"] * 6
    here.apply(segments=[a_segment("rest", known("cid"))])
    here.write(Record("p", "lead", {"stage": "hot"}, group_key="m"), Record("q", "lead", group_key="m"), Record("s", "lead"))
    assert here.owners("p", "q", "s") == ["", "", "cid"]
    assert here.record("p").assignment.reason.endswith("there is nobody whom all of them may go to")
    assert here.status("p") == "NO_SELLER_MATCHED"


def test_a_group_follows_who_owns_an_active_record_of_its_key(world: Make) -> None:
    here = a_floor(world, a_rule("all", sticky={"by": "group_key"}))
    here.sellers(Seller("ana"), Seller("ben"))
    here.write(Record("old", "lead", group_key="acme", owner="ben"))
    here.write(of("a1", "acme"), of("a2", "acme"), of("a3", "acme"))
    assert here.owners("a1", "a2", "a3") == ["ben"] * 3


@pytest.mark.parametrize("required", [True, False])
def test_a_key_that_a_rule_requires_binds_records_that_come_together(world: Make, required: bool) -> None:
    here = a_floor(world, a_rule("all", sticky={"by": "company", "required": required}))
    here.sellers(Seller("ana"), Seller("ben"))
    here.write(*(Record(name, "lead", {"company": "acme"}) for name in ("a", "b", "c")), Record("d", "lead", {"company": "bolt"}))
    owners = here.owners("a", "b", "c")
    assert (len(set(owners)) == 1) == required
    assert "" not in owners


def test_a_group_is_given_to_one_team_of_several_drawn_for_all_of_it(world: Make) -> None:
    here = world()
    rule = {"rule_id": "team", "target": {"team": {"team_ids": ["n", "s", "w"], "several": "SEVERAL_MATCHES_ANY_AT_RANDOM"}}}
    teams = [{"team_id": name} for name in ("n", "s", "w")]
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", rule)], teams=teams)
    here.write(*(of(f"{key}{n}", key) for key in ("k1", "k2", "k3", "k4", "k5", "k6") for n in range(3)))
    drawn = [set(here.owners(*(f"{key}{n}" for n in range(3)))) for key in ("k1", "k2", "k3", "k4", "k5", "k6")]
    assert all(len(owners) == 1 for owners in drawn)
    assert len(set.union(*drawn)) > 1


def test_a_size_limit_tears_no_group_apart(world: Make) -> None:
    here = a_floor(world, **WAITS)
    here.sellers(Seller("ana"), Seller("ben"))
    here.write(of("a", "", 0), *(of(f"b{n}", "bolt", 1 + n) for n in range(3)), of("c", "", 9), of("d", "", 10))
    assert here.run(limit=3).counts.assigned == 3
    assert [bool(owner) for owner in here.owners("a", "b0", "b1", "b2", "c", "d")] == [True, False, False, False, True, True]
    assert here.run(limit=3).counts.assigned == 3
    assert len(set(here.owners("b0", "b1", "b2"))) == 1
