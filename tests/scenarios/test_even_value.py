"""Even value through the service: sums of value as even as can be, in a batch and one by one, and nobody flooded."""

from typing import Any

from reallot.clients import Record, Seller
from reallot.v1 import run_pb2

from world import Make, World, a_rule, a_segment, lead_type, quiet_settings


def a_shop(world: Make, **parts: Any) -> World:
    here = world()
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", a_rule("all", "EVEN_VALUE"), **parts)])
    return here


def leads(*values: int, first: int = 0) -> list[Record]:
    return [Record(f"lead-{first + number:03}", "lead", {}, value_units=value) for number, value in enumerate(values)]


def sums(here: World, *records: Record) -> dict[str, int]:
    found: dict[str, int] = {}
    for record in records:
        owner = here.owner(record.record_id)
        found[owner] = found.get(owner, 0) + (record.value_units or 0)
    return found


def test_a_batch_is_split_into_even_values(world: Make) -> None:
    here = a_shop(world, on_arrival="ON_ARRIVAL_WAIT")
    here.sellers(Seller("ana"), Seller("ben"))
    # From the largest on, 8 7 6 5 4 would leave 17 and 13; 8 + 7 and 6 + 5 + 4 are even.
    first = leads(8, 7, 6, 5, 4)
    here.write(*first)
    run = here.run()
    assert sums(here, *first) == {"ana": 15, "ben": 15}
    level = run.levels[-1]
    assert (level.level_id, level.value, level.bound) == ("policy:even_value:leads/all", 0, 0)
    assert run.termination.reason == run_pb2.TERMINATION_REASON_OPTIMAL
    # What was given is remembered: ana or ben gets the large one, the other all others.
    second = leads(100, 30, 30, 40, first=10)
    here.write(*second)
    here.run()
    assert sorted(sums(here, *second).values()) == [100, 100]


def test_one_by_one_whoever_has_been_given_least_is_served_and_newcomers_are_not_flooded(world: Make) -> None:
    here = a_shop(world)
    here.sellers(Seller("ana"), Seller("ben"))
    arrived = leads(50, 20, 20, 20, 5)
    for lead in arrived:
        here.write(lead)
    assert sums(here, *arrived) == {"ana": 55, "ben": 60}
    here.sellers(Seller("cy"))
    later = leads(*[10] * 9, first=20)
    for lead in later:
        here.write(lead)
    found = sums(here, *later)
    assert all(20 <= found[seller] <= 40 for seller in ("ana", "ben", "cy"))


def test_values_beyond_all_bounds_count_as_the_largest(world: Make) -> None:
    here = a_shop(world)
    here.sellers(Seller("ana"), Seller("ben"))
    arrived = leads(2**63 - 1, 2**63 - 1, -(2**63), 5)
    for lead in arrived:
        here.write(lead)
    assert here.owners(*(lead.record_id for lead in arrived)) == ["ana", "ben", "ana", "ana"]
