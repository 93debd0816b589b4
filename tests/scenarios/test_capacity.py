"""Capacity over time and in parts: rolling windows, and freed room that is taken again."""

import pytest

from reallot.clients import Record, Seller
from reallot.v1 import run_pb2, seller_pb2, seller_service_pb2

from world import Make, World, a_lead, a_rule, a_segment, lead_type, quiet_settings


def a_team(world: World, *rules: dict[str, object], **parts: object) -> None:
    segment = a_segment("leads", *(rules or (a_rule("all"),)), **parts)
    world.apply(settings={}, record_types=[lead_type()], segments=[segment])


def for_one(seller_id: str, **parts: object) -> dict[str, object]:
    """A rule that gives everything of a kind to the seller of that name."""
    return a_rule(seller_id, condition=f'record.kind == "{seller_id}"', target={"sellers": {"seller_ids": [seller_id]}}, **parts)


def seller(world: World, seller_id: str = "ana") -> seller_pb2.Seller:
    found: seller_pb2.Seller = world.client.stubs.sellers.GetSeller(seller_service_pb2.GetSellerRequest(seller_id=seller_id))
    return found


def by_events(world: World) -> list[tuple[int, int]]:
    """What the event runs so far have tried and assigned."""
    return [(run.counts.considered, run.counts.assigned) for run in world.runs(run_pb2.RUN_KIND_EVENT)]


def test_o1_quotas_are_windows_by_seller_and_segment(world: Make) -> None:
    here = world("2026-03-09T05:00")
    types = (("probability", "FIELD_TYPE_DECIMAL"), ("rank", "FIELD_TYPE_INTEGER"))
    lead = {"record_type": "lead", "fields": [{"field_id": name, "type": kind} for name, kind in types]}

    def member(rule_id: str, seller_id: str, least: float) -> dict[str, object]:
        return a_rule(rule_id, condition=f"record.probability >= {least}", target={"sellers": {"seller_ids": [seller_id]}})

    team_b = a_segment("team-b", member("c1", "m3", 20.0), member("c2", "c2", 0.0), condition="record.rank >= 1", priority=1)
    team_a = a_segment("team-a", member("m1", "m1", 0.0), member("m2", "m2", 10.0), member("m3", "m3", 20.0))
    segments = [{**segment, "on_arrival": "ON_ARRIVAL_WAIT"} for segment in (team_b, team_a)]
    schedule = {"schedule_id": "daily", "cron": "0 6 * * *", "selection": {"record_type": "lead"}}
    here.apply(settings=quiet_settings(), record_types=[lead], segments=segments, schedules=[schedule])
    quotas = {"m1": ["2/1d segment:team-a"], "m2": ["1/1d segment:team-a"], "c2": ["2/1d segment:team-b"]}
    quotas["m3"] = ["1/1d segment:team-a", "1/1d segment:team-b"]
    here.sellers(*(Seller(name, windows=windows) for name, windows in quotas.items()))
    fields = [{"rank": i % 3, "probability": (i % 5 + 1) * 10 * (i % 3 + 1) / 2} for i in range(150)]
    here.write(*(Record(f"l{i:03}", "lead", values) for i, values in enumerate(fields)))
    for day, days in (("09", 1), ("10", 2)):
        here.advance(f"2026-03-{day}T07:00")
        owned = [r for r in here.client.records.list() if r.HasField("owner")]
        counts: dict[tuple[str, str], int] = {}
        for record in owned:
            key = (record.segment_id, record.owner.seller_id)
            counts[key] = counts.get(key, 0) + 1
        daily = {("team-a", "m1"): 2, ("team-a", "m2"): 1, ("team-a", "m3"): 1, ("team-b", "m3"): 1, ("team-b", "c2"): 2}
        assert counts == {key: number * days for key, number in daily.items()}
        least = {"m2": 10, "m3": 20}
        assert all(r.fields["probability"].decimal >= least.get(r.owner.seller_id, 0) for r in owned)


def test_a_window_fills_shows_itself_and_is_freed_by_time(world: Make) -> None:
    here = world("2026-03-05T08:00")
    a_team(here)
    here.sellers(Seller("ana", windows=["2/1h", "3/1d"]))
    here.write(a_lead("a"))
    here.advance("2026-03-05T08:20")
    for name in ("b", "c", "d", "e"):
        here.write(a_lead(name))
    assert here.owners("a", "b", "c", "d", "e") == ["ana", "ana", "", "", ""]
    assert here.status("c") == "NO_CAPACITY"
    hour, day = seller(here).window_use
    assert (hour.used, hour.free, hour.next_free_time.ToJsonString()) == (2, 0, "2026-03-05T09:00:00Z")
    assert (day.used, day.free, day.window.count) == (2, 1, 3)
    (row,) = here.client.stubs.sellers.ListCapacity(seller_service_pb2.ListCapacityRequest()).sellers
    assert list(row.windows) == [hour, day]
    # A closed record gives its slot back, and nothing to the windows.
    here.write(Record("a", "lead", active=False))
    here.advance("2026-03-05T08:59:59")
    assert here.owner("c") == ""
    here.advance("2026-03-05T09:00")
    assert here.owners("c", "d") == ["ana", ""]
    here.advance("2026-03-06T07:59")
    assert here.owner("d") == "", "three were given within a day"
    here.advance("2026-03-06T08:20")
    assert here.owners("d", "e") == ["ana", "ana"]
    assert [here.record(name).assignment.last_attempt_time.ToJsonString()[11:16] for name in ("d", "e")] == ["08:00", "08:20"]


def test_windows_count_efforts_and_what_was_given_by_hand_and_bind_it(world: Make) -> None:
    here = world("2026-03-05T08:00")
    a_team(here, on_arrival="ON_ARRIVAL_WAIT")
    here.sellers(Seller("ana", windows=["3/1h"]), Seller("ben", windows=["1/1h type:lead"]))
    here.write(Record("big", "lead", effort=2), *(a_lead(name) for name in "abcd"))
    assert [r.assigned for r in here.give("ana", "big", "a", "b")] == [True, True, False]
    assert [r.assigned for r in here.give("ana", "b", force=True)] == [True]
    assert [(u.used, u.free) for u in seller(here).window_use] == [(4, -1)]
    run = here.run()
    assert (run.counts.assigned, here.owners("c", "d").count("ben")) == (1, 1)
    # What goes on to somebody else still counts.
    here.give("ben", "a", force=True)
    assert [u.used for u in seller(here).window_use] == [4]
    here.advance("2026-03-05T09:00")
    assert sum(u.used for name in ("ana", "ben") for u in seller(here, name).window_use) == 1, "only the lead that waited"


def test_a_first_window_counts_what_was_given_before_it(world: Make) -> None:
    here = world("2026-03-05T08:00")
    a_team(here)
    here.sellers(Seller("ana"))
    here.write(Record("old", "lead", owner="ana"), quiet=True)
    here.write(a_lead("a"), a_lead("b"))
    here.advance("2026-03-05T08:30")
    here.sellers(Seller("ana", windows=["2/1h"]))
    here.write(a_lead("c"))
    assert (here.owner("c"), [u.used for u in seller(here).window_use]) == ("", [2])
    here.advance("2026-03-05T09:00")
    assert here.owner("c") == "ana"


def test_a_claim_is_in_the_window_from_when_it_is_made_unless_it_is_given_back_or_lapses(world: Make) -> None:
    here = world("2026-03-05T08:00")
    a_team(here, on_arrival="ON_ARRIVAL_WAIT")
    here.sellers(Seller("ana", windows=["1/1h"]), Seller("ben"))
    here.write(*(a_lead(name, f"2026-03-01T0{place}:00") for place, name in enumerate("abcd")))

    def used(name: str = "ana") -> list[int]:
        return [use.used for use in seller(here, name).window_use]

    def claim(name: str = "ana") -> str:
        found = here.client.offers.claim_next(name)
        return found.record_id if found else ""

    assert (claim(), claim(), used()) == ("a", "", [1]), "the window allows one, and she holds one"
    here.client.offers.decline("a", "ana")
    here.settle()
    assert (used(), claim()) == ([0], "a")
    here.advance("2026-03-05T08:16")
    assert used() == [0], "it has lapsed"
    assert claim() == "a"
    here.advance("2026-03-05T08:20")
    here.client.offers.accept("a", "ana")
    assert (here.owner("a"), used(), claim()) == ("ana", [1], ""), "it counts once"
    here.advance("2026-03-05T09:15:59")
    assert (used(), claim()) == ([1], "")
    here.advance("2026-03-05T09:16")
    assert (used(), claim()) == ([0], "b"), "what was claimed at 8:16 has left the window"
    # A window that comes later counts what is held, from when it was claimed.
    assert claim("ben") == "c"
    here.advance("2026-03-05T09:20")
    here.client.offers.accept("c", "ben")
    assert claim("ben") == "d"
    here.sellers(Seller("ben", windows=["2/1h"]))
    assert used("ben") == [2]
    here.client.offers.decline("d", "ben")
    assert used("ben") == [1]
    here.advance("2026-03-05T10:16")
    assert used("ben") == [0]


def test_an_offer_is_in_the_window_until_it_ends_without_being_accepted(world: Make) -> None:
    here = world("2026-03-05T08:00")
    a_team(here, a_rule("ask", offer={"timeout": "3600s", "out_after": 0}))
    here.sellers(Seller("ana", windows=["2/1d"]))
    here.write(*(a_lead(name, f"2026-03-01T0{place}:00") for place, name in enumerate("abc")))
    assert [here.status(name) for name in "abc"] == ["OFFERED", "OFFERED", "NO_CAPACITY"]
    here.client.offers.decline("a", "ana")
    here.settle()
    assert ([here.status(name) for name in "abc"], seller(here).window_use[0].used) == (["SELLER_NOT_ELIGIBLE", "OFFERED", "OFFERED"], 2)
    here.client.offers.accept("b", "ana")
    here.settle()
    assert seller(here).window_use[0].used == 2, "it counts once"
    here.advance("2026-03-05T09:00")
    assert (here.status("c"), seller(here).window_use[0].used) == ("SELLER_NOT_ELIGIBLE", 1), "c ran out, b is hers"


@pytest.mark.parametrize("more", [["3/1h"], ["2/1m"], []], ids=["more", "shorter", "none"])
def test_a_wider_window_lets_waiting_records_in(world: Make, more: list[str]) -> None:
    here = world("2026-03-05T08:00")
    a_team(here)
    here.sellers(Seller("ana", capacity=50, windows=["2/1h"]))
    here.write(*(a_lead(name) for name in "abc"))
    here.advance("2026-03-05T08:05")
    assert here.owner("c") == ""
    here.sellers(Seller("ana", capacity=50, windows=more))
    assert here.owner("c") == "ana"


def test_freed_room_is_taken_by_a_run_over_the_records_that_the_seller_fits(world: Make) -> None:
    here = world()
    a_team(here, for_one("ana"), for_one("ben"))
    here.sellers(Seller("ana", capacity=3), Seller("ben", capacity=3))
    here.write(*(a_lead(f"a{n}", kind="ana") for n in range(9)), *(a_lead(f"b{n:02}", kind="ben") for n in range(40)))
    before = len(by_events(here))
    here.advance("2026-03-05T11:20:30")
    here.write(Record("a0", "lead", active=False))
    assert by_events(here)[before:] == [(6, 1)], "of ana's leads six wait, of ben's 37"
    assert here.owner("a3") == "ana"
    # A burst is one run, for the sake of both. (Runs of one instant have no order, so time passes.)
    here.advance("2026-03-05T11:21")
    here.write(*(Record(name, "lead", active=False) for name in ("a1", "a2", "b00", "b01")))
    assert by_events(here)[before + 1 :] == [(5 + 37, 4)]
    assert here.loads() == {"ana": 3, "ben": 3}
    # Nobody waits for a seller who is new and fits nothing.
    here.advance("2026-03-05T11:22")
    here.sellers(Seller("cem"))
    assert by_events(here)[before + 2 :] == [(0, 0)]


def test_a_run_can_be_asked_for_the_sake_of_a_seller(world: Make) -> None:
    here = world()
    a_team(here, for_one("ana"), a_rule("rest", condition='record.kind == "y"'))
    here.sellers(Seller("ana", capacity=0), Seller("ben", capacity=0, assignable=False))
    here.write(a_lead("a", kind="ana"), a_lead("b", kind="y"), a_lead("c", kind="z"))
    assert [here.run(selection={"seller_ids": [name]}).counts.considered for name in ("ana", "ben")] == [2, 1]


def test_a_reserve_is_left_free_for_its_segment_and_those_before_it(world: Make) -> None:
    here = world()
    hot = a_segment("hot", a_rule(), condition='record.kind == "hot"', priority=1)
    warm = a_segment("warm", a_rule(), condition='record.kind == "warm"', priority=2)
    here.apply(settings={}, record_types=[lead_type()], segments=[hot, warm, a_segment("rest", a_rule())])
    row = Seller("ana", capacity=6).to_upsert()
    row.seller.capacity.reserved.update({"hot": 2, "warm": 1})
    here.client.stubs.sellers.UpsertSellers(seller_service_pb2.UpsertSellersRequest(sellers=[row]))
    assert dict(seller(here).capacity.reserved) == {"hot": 2, "warm": 1}
    here.write(*(a_lead(f"r{n}") for n in range(6)))
    assert here.loads() == {"ana": 3}
    assert not here.give("ana", "r5")[0].assigned
    here.write(*(a_lead(f"w{n}", kind="warm") for n in range(3)))
    assert here.loads() == {"ana": 4}
    here.write(*(a_lead(f"h{n}", kind="hot") for n in range(3)))
    assert (here.loads(), here.owners("h0", "h1", "h2")) == ({"ana": 6}, ["ana", "ana", ""])
    # Room that a lead of the rest gives back belongs to the hot one first; then its own segment has none.
    here.write(Record("r0", "lead", active=False))
    assert (here.owner("h2"), here.owners("r4", "w1")) == ("ana", ["", ""])
    here.write(Record("h0", "lead", active=False), Record("h1", "lead", active=False))
    # One of the two for hot leads stays free; the other was never theirs, and is for whoever comes first.
    assert (here.owners("r3", "w1"), here.loads()) == (["ana", ""], {"ana": 5})


def test_a_newcomer_who_ramps_up_is_not_levelled_up_at_once(world: Make) -> None:
    here = world("2026-03-05T08:00")
    a_team(here, a_rule(policy="LOAD_BALANCING"))
    here.sellers(*(Seller(name, capacity=30) for name in ("ana", "ben")))
    here.write(*(a_lead(f"a{n:02}") for n in range(20)))
    row = Seller("cem", capacity=30).to_upsert()
    row.seller.ramp_up.FromSeconds(30 * 86_400)
    here.client.stubs.sellers.UpsertSellers(seller_service_pb2.UpsertSellersRequest(sellers=[row]))
    here.write(*(a_lead(f"b{n}") for n in range(6)))
    assert here.loads() == {"ana": 13, "ben": 13, "cem": 0}, "cem's one slot is less free than theirs"
    here.advance("2026-03-25T09:00")
    assert seller(here, "cem").free == 20
    here.write(*(a_lead(f"c{n}") for n in range(6)))
    assert here.loads() == {"ana": 14, "ben": 14, "cem": 4}
    # Off and on again it begins anew.
    here.sellers(Seller("cem", assignable=False))
    here.sellers(Seller("cem", assignable=True))
    assert (seller(here, "cem").free, seller(here, "cem").ramp_up.ToSeconds()) == (1 - 4, 30 * 86_400)


def test_a_maximum_that_grows_lets_waiting_records_in(world: Make) -> None:
    here = world("2026-03-05T08:00")
    a_team(here)
    row = Seller("ana", capacity=4).to_upsert()
    row.seller.ramp_up.FromSeconds(4 * 3_600)
    here.client.stubs.sellers.UpsertSellers(seller_service_pb2.UpsertSellersRequest(sellers=[row]))
    here.write(*(a_lead(f"r{n}") for n in range(6)))
    assert here.loads() == {"ana": 1}
    for hour, load in (("09:59:59", 1), ("10:00", 2), ("11:30", 3), ("20:00", 4)):
        here.advance(f"2026-03-05T{hour}")
        assert here.loads() == {"ana": load}


@pytest.mark.parametrize("who", ["returner", "newcomer"])
def test_round_robin_gives_whoever_comes_their_share_and_one_more_at_most(world: Make, who: str) -> None:
    here = world("2026-03-05T08:00")
    a_team(here)
    here.sellers(*(Seller(name) for name in ("ana", "ben", "cem")))
    here.write(a_lead("first"), a_lead("second"), a_lead("third"))
    if who == "returner":
        here.sellers(Seller("cem", assignable=False))
    here.write(*(a_lead(f"a{n:02}") for n in range(60)))
    here.advance("2026-04-04T08:00")
    here.sellers(Seller("cem", assignable=True) if who == "returner" else Seller("dan"))
    sellers, before = (3, here.loads()) if who == "returner" else (4, {"dan": 0})
    for batch in range(10):
        here.write(*(a_lead(f"b{batch}{n}") for n in range(10)))
    came = "cem" if who == "returner" else "dan"
    assert here.loads()[came] - before[came] <= 100 // sellers + 1
