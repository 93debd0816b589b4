"""Round robin where every rule has an order of its own."""

import pytest

from world import Make, World, a_lead, a_rule, a_segment, lead_type, quiet_settings, served

ARRIVALS = [("L1", "1"), ("L2", "2"), ("L3", "3"), ("L4", "1"), ("L5", "1"), ("L6", "1"), ("L7", "2")]


def three_orders(here: World) -> None:
    rules = [a_rule(f"rule-{n}", condition=f'record.kind == "{n}"') for n in (1, 2, 3)]
    settings = quiet_settings(round_robin_scope="ROUND_ROBIN_SCOPE_PER_RULE")
    here.apply(settings=settings, record_types=[lead_type()], segments=[a_segment("leads", *rules)])
    here.sellers(served("miriam", 1, "10:02"), served("sanjay", 2, "10:31"), served("susana", 3, "11:17"))


@pytest.mark.parametrize("batch", [False, True], ids=["one by one", "as a batch"])
def test_each_rule_goes_round_by_itself(world: Make, batch: bool) -> None:
    here = world()
    three_orders(here)
    leads = [a_lead(name, f"2026-03-01T0{place}:00", kind=kind) for place, (name, kind) in enumerate(ARRIVALS)]
    for group in [leads] if batch else [[lead] for lead in leads]:
        here.write(*group)
    assert here.owners("L1", "L4", "L5", "L6") == ["miriam", "sanjay", "susana", "miriam"]
    assert here.owners("L2", "L7", "L3") == ["miriam", "sanjay", "miriam"]
    # What is given by hand counts for all of them.
    here.give("susana", "L3")
    here.write(a_lead("L8", kind="3"), a_lead("L9", kind="2"))
    assert here.owners("L8", "L9") == ["sanjay", "miriam"]
    here.apply(settings=quiet_settings())
    here.write(a_lead("L10", kind="1"), a_lead("L11", kind="2"))
    assert here.owners("L10", "L11") == ["susana", "sanjay"]
