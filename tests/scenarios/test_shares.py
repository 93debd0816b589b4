"""Weighted shares through the service: within a record of the weights, and nobody who comes in is flooded."""

from collections import Counter
from typing import Any

import pytest

from reallot.clients import Seller

from world import Make, World, a_lead, a_rule, a_segment, lead_type, quiet_settings

SELLER_FIELDS = [{"field_id": "region", "type": "FIELD_TYPE_TEXT"}]


def a_shop(world: Make, *rules: dict[str, Any], **parts: Any) -> World:
    here = world()
    segment = a_segment("leads", *(rules or (a_rule("all", "WEIGHTED_SHARES"),)), **parts)
    here.apply(settings=quiet_settings(seller_fields=SELLER_FIELDS), record_types=[lead_type()], segments=[segment])
    return here


def given(here: World, first: int, count: int, size: int = 50, **fields: Any) -> Counter[str]:
    """Write leads in batches and return who got how many of them."""
    names = [f"lead-{number:04}" for number in range(first, first + count)]
    for start in range(0, count, size):
        here.write(*(a_lead(name, **fields) for name in names[start : start + size]))
    return Counter(here.owner(name) for name in names)


def test_f3_weights_of_one_and_two(world: Make) -> None:
    here = a_shop(world)
    here.sellers(Seller("ana", weight=1), Seller("ben", weight=2))
    assert given(here, 0, 5, size=1) == {"ana": 2, "ben": 3}
    assert given(here, 5, 1) == {"ben": 1}
    # What was given is remembered: the next six are two and four again, as one batch.
    assert given(here, 6, 6) == {"ana": 2, "ben": 4}


def test_whoever_comes_in_or_back_gets_the_share_from_then_on(world: Make) -> None:
    """A newcomer, somebody who was switched off, somebody who was full, and changed weights."""
    here = a_shop(world)
    here.sellers(Seller("ana"), Seller("ben"), Seller("cy", assignable=False))
    assert given(here, 0, 40) == {"ana": 20, "ben": 20}
    here.sellers(Seller("cy", assignable=True))
    assert given(here, 40, 30) == {"ana": 10, "ben": 10, "cy": 10}
    here.sellers(Seller("ana", weight=4), Seller("ben", capacity=31))
    # ana 4 of 6, the others 1 each, but ben is full after one more.
    found = given(here, 70, 30)
    assert found["ben"] == 1
    assert 23 <= found["ana"] <= 24
    here.sellers(Seller("ben", capacity=100))
    found = given(here, 100, 60)
    assert found["ben"] <= 60 / 6 + 1
    assert sum(found.values()) == 60


def test_whoever_becomes_available_is_not_flooded(world: Make) -> None:
    here = a_shop(world, a_rule("all", "WEIGHTED_SHARES", available_within="86400s"))
    here.sellers(Seller("ana"), Seller("ben", hours="Mon-Sun 12:00-18:00", zone="UTC"))
    # At 11:20 ben is not there yet: what is due to nobody is not due later.
    assert given(here, 0, 40) == {"ana": 40}
    here.jump("2026-03-05T12:30")
    found = given(here, 40, 40)
    assert 19 <= found["ben"] <= 21


def test_rules_count_for_themselves(world: Make) -> None:
    """Another rule that is changed, and another that is deleted, leave what this one has given alone."""
    rules = [
        a_rule("north", "WEIGHTED_SHARES", condition='record.kind == "north"'),
        a_rule("south", "WEIGHTED_SHARES", condition='record.kind == "south"'),
    ]
    here = a_shop(world, *rules)
    here.sellers(Seller("ana", attributes={"region": "x"}), Seller("ben"), Seller("cy"))
    first = given(here, 0, 1, kind="north") + given(here, 1, 1, kind="north")
    assert given(here, 2, 1, kind="south") == {"ana": 1}
    rules[1]["target"] = {"matching": 'seller.region == "x"'}
    here.apply(segments=[a_segment("leads", *rules)])
    assert given(here, 3, 1, kind="south") == {"ana": 1}
    assert first + given(here, 4, 1, kind="north") == {"ana": 1, "ben": 1, "cy": 1}


def test_sellers_of_several_kinds_of_records_share_each_by_weight(world: Make) -> None:
    rule = a_rule("all", "WEIGHTED_SHARES", target={"matching": 'seller.region == record.kind || seller.region == "all"'})
    here = a_shop(world, rule)
    here.sellers(
        Seller("ana", weight=2, attributes={"region": "north"}),
        Seller("ben", attributes={"region": "north"}),
        Seller("cy", attributes={"region": "south"}),
        Seller("dee", attributes={"region": "south"}),
    )
    found: Counter[str] = Counter()
    for turn in range(6):
        found += given(here, turn * 10, 1, kind="north") + given(here, turn * 10 + 1, 1, kind="south")
    assert found == {"ana": 4, "ben": 2, "cy": 3, "dee": 3}


@pytest.mark.parametrize("size", [1, 7])
def test_a_run_gives_what_arrivals_would_get(world: Make, size: int) -> None:
    waiting = a_shop(world, on_arrival="ON_ARRIVAL_WAIT")
    waiting.sellers(Seller("ana", weight=3), Seller("ben", weight=2), Seller("cy", weight=2))
    names = [f"lead-{number:04}" for number in range(14)]
    waiting.write(*(a_lead(name, f"2026-03-01T08:{number:02}") for number, name in enumerate(names)))
    waiting.run()
    here = a_shop(world)
    here.sellers(Seller("ana", weight=3), Seller("ben", weight=2), Seller("cy", weight=2))
    for start in range(0, 14, size):
        here.write(*(a_lead(name, f"2026-03-01T08:{start + n:02}") for n, name in enumerate(names[start : start + size])))
    assert waiting.owners(*names) == here.owners(*names)
