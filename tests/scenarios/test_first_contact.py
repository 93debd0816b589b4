"""Earliest first contact through the service: working time and what sellers own already decide."""

from typing import Any

from reallot.clients import Seller

from world import Make, World, a_lead, a_rule, a_segment, lead_type, quiet_settings


def a_shop(world: Make, minutes: int, **parts: Any) -> World:
    here = world("2026-03-05T16:30")
    rule = a_rule("first", "EARLIEST_FIRST_CONTACT", handling_minutes=minutes)
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", rule, **parts)])
    return here


def test_records_go_to_whom_gets_to_them_first(world: Make) -> None:
    """Thursday 16:30: ana has half an hour left today, ben comes at 18:00, cy works tomorrow morning."""
    here = a_shop(world, 20)
    here.sellers(
        Seller("ana", hours="Mon-Fri 09:00-17:00", zone="UTC"),
        Seller("ben", hours="Mon-Fri 18:00-19:00", zone="UTC"),
        Seller("cy", hours="Mon-Fri 08:00-12:00", zone="UTC"),
    )
    names = [f"lead-{number}" for number in range(8)]
    # ana 16:30 and 16:50; ben 18:00, 18:20 and 18:40; cy on Friday 8:00, 8:20 and 8:40, before ana at 9:10.
    here.write(*(a_lead(name, f"2026-03-01T08:0{number}") for number, name in enumerate(names)))
    assert here.owners(*names) == ["ana", "ana", "ben", "ben", "ben", "cy", "cy", "cy"]
    # One by one it goes on where it was, with what everybody owns by now: cy at 9:00, and at 9:20 after ana at 9:10.
    here.write(a_lead("later"))
    here.write(a_lead("even-later"))
    assert here.owners("later", "even-later") == ["cy", "ana"]


def test_an_absence_puts_a_seller_behind(world: Make) -> None:
    here = a_shop(world, 60, on_arrival="ON_ARRIVAL_WAIT")
    here.sellers(Seller("ana", hours="Mon-Sun 16:00-22:00", zone="UTC"), Seller("ben"))
    here.write(a_lead("a", "2026-03-01T08:00"), a_lead("b", "2026-03-01T08:01"), a_lead("c", "2026-03-01T08:02"))
    run = here.run()
    assert here.owners("a", "b", "c") == ["ana", "ben", "ana"]
    assert [level.level_id for level in run.levels][-1] == "policy:earliest_first_contact:60"
