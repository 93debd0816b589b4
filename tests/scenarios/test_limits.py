"""Numbers at their documented maxima are told apart like any others, and what lies beyond is refused by name."""

from typing import Any

import pytest

from reallot.clients import Record, Seller
from reallot.clients.errors import InvalidArgument

from world import Make, World, a_lead, a_rule, a_segment, lead_type, quiet_settings, served

LARGEST_EFFORT, LARGEST_CAPACITY = 1_000_000, 1_000_000_000
FAR = 2**63 - 1


def a_shop(world: Make, policy: str, **parts: Any) -> World:
    here = world()
    fields = [{"field_id": "quality", "type": "FIELD_TYPE_DECIMAL"}]
    on_arrival = parts.pop("on_arrival", "ON_ARRIVAL_ASSIGN")
    segment = a_segment("leads", a_rule("all", policy, **parts), on_arrival=on_arrival)
    here.apply(settings=quiet_settings(seller_fields=fields), record_types=[lead_type()], segments=[segment])
    return here


def a_heavy_lead(record_id: str, **parts: Any) -> Record:
    return Record(record_id, "lead", {}, effort=LARGEST_EFFORT, **parts)


def test_free_capacity_at_its_maximum_is_balanced(world: Make) -> None:
    here = a_shop(world, "LOAD_BALANCING")
    here.sellers(Seller("ana", capacity=LARGEST_CAPACITY - 1), Seller("ben", capacity=LARGEST_CAPACITY), Seller("cy", capacity=0))
    for name in "abc":
        here.write(a_lead(name))
    assert here.owners("a", "b", "c") == ["ben", "ana", "ben"]


def test_priorities_efforts_and_values_at_their_maxima(world: Make) -> None:
    here = a_shop(world, "ROUND_ROBIN", on_arrival="ON_ARRIVAL_WAIT")
    here.sellers(served("ana", 2**53 - 1, "10:00", LARGEST_EFFORT), served("ben", 2**53 - 2, "09:00", LARGEST_EFFORT))
    leads = [
        a_heavy_lead("least", priority=0, value_units=FAR),
        a_heavy_lead("most", priority=100, value_units=-FAR - 1),
        a_heavy_lead("next", priority=99, value_units=FAR),
    ]
    here.write(*leads)
    here.run()
    assert here.owners("most", "next", "least") == ["ben", "ana", ""]
    assert here.status("least") == "NO_CAPACITY"


def test_weights_and_times_at_their_maxima(world: Make) -> None:
    shares = a_shop(world, "WEIGHTED_SHARES")
    shares.sellers(Seller("ana", weight=1), Seller("ben", weight=1_000))
    names = [f"lead-{number}" for number in range(30)]
    shares.write(*(a_lead(name) for name in names))
    assert shares.owners(*names).count("ana") <= 1
    contacts = a_shop(world, "EARLIEST_FIRST_CONTACT", handling_minutes=10_080)
    contacts.sellers(Seller("ana", hours="Mon-Mon 00:00-00:01", zone="UTC"), Seller("ben"))
    contacts.write(*(a_lead(name) for name in names))
    # On Monday ana has a minute; the next record would take her thousands of weeks.
    assert contacts.owners(*names).count("ana") == 1


def test_scores_beyond_all_bounds_count_as_the_largest_or_as_none(world: Make) -> None:
    here = a_shop(world, "BEST_FIT", score="seller.quality * record.revenue")
    here.sellers(
        Seller("ana", attributes={"quality": 1e300}),
        Seller("ben", attributes={"quality": 1.0}),
        Seller("cy", attributes={"quality": -1e300}),
    )
    here.write(a_lead("large", revenue=1e8), a_lead("opposite", revenue=-1e8), a_lead("without", revenue=1e300))
    # 1e300 times 1e300 is no number: ben's 1e300 is the only score there is.
    assert here.owners("large", "opposite", "without") == ["ana", "cy", "ben"]


@pytest.mark.parametrize(
    ("seller", "field"),
    [
        (Seller("ana", weight=0), "seller.weight"),
        (Seller("ana", weight=1_001), "seller.weight"),
        (Seller("ana", priority=101), "seller.priority"),
        (Seller("ana", capacity=LARGEST_CAPACITY + 1), "seller.capacity.total"),
        (served("ana", 2**53 + 1, "10:00"), "seller.last_assigned.lead.order"),
    ],
)
def test_numbers_of_sellers_beyond_their_maxima_are_refused(world: Make, seller: Seller, field: str) -> None:
    here = a_shop(world, "ROUND_ROBIN")
    with pytest.raises(InvalidArgument) as refused:
        here.sellers(Seller("ben"), seller)
    assert [violation.field for violation in refused.value.violations] == [f"sellers[1].{field}"]
    assert here.client.sellers.list() == []
