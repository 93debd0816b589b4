"""Who takes over: a stand-in during absences, the next rule where one is full, the next region as the day goes round."""

from pathlib import Path

import pytest

from reallot.clients import Record, Seller
from reallot.clients.errors import InvalidArgument
from reallot.clients.values import timestamp
from reallot.v1 import seller_pb2, seller_service_pb2

from world import Make, World, a_lead, a_rule, a_segment, at, lead_type, quiet_settings

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "around_the_clock.yaml"


def away(world: World, *seller_ids: str, until: str = "2026-03-06T08:00") -> None:
    absence = seller_pb2.TimeOff(time_off_id="leave", start_time=timestamp(at("2026-03-05T08:00")), end_time=timestamp(at(until)))
    world.client.stubs.sellers.AddTimeOff(seller_service_pb2.AddTimeOffRequest(seller_ids=seller_ids, time_off=absence))
    world.settle()


def test_a_stand_in_takes_what_would_go_to_who_is_away_along_the_chain_and_as_far_as_there_is_room(world: Make) -> None:
    here = world()
    only_ana = a_rule(target={"sellers": {"seller_ids": ["ana"]}})
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", only_ana)])
    here.sellers(Seller("ana", stand_in_id="ben"), Seller("ben", stand_in_id="carl"), Seller("carl", capacity=1, stand_in_id="ana"))
    here.write(a_lead("l1"))
    away(here, "ana")
    here.write(a_lead("l2"))
    away(here, "ben", until="2026-03-05T16:00")
    here.write(a_lead("l3"), a_lead("l4"))
    assert here.owners("l1", "l2", "l3") == ["ana", "ben", "carl"], "what she owns stays"
    assert here.status("l4") == "NO_CAPACITY", "a stand-in takes no more than the maximum"
    away(here, "carl", until="2026-03-05T15:00")
    here.write(a_lead("l5"))
    assert here.owner("l5") == "ana", "a circle leaves it as without stand-ins"
    here.jump("2026-03-05T15:30")
    here.give("ben", "l3", force=True)
    here.write(a_lead("l6"))
    assert here.owner("l6") == "carl"
    here.run(selection={"owned_but_ineligible": True})
    assert here.owners("l1", "l5") == ["ana", "ana"]
    here.jump("2026-03-06T08:00")
    here.write(a_lead("l7"))
    assert here.owner("l7") == "ana"


def test_stand_ins_are_asked_in_turn_and_only_once_beside_their_own_place(world: Make) -> None:
    here = world()
    conflict = {"conflict": 'seller.seller_id == "dan"'}
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", a_rule(exclusions=conflict))])
    here.sellers(Seller("ana", stand_in_id="ben"), Seller("ben"), Seller("carl", stand_in_id="dan"), Seller("dan"))
    away(here, "ana", "carl")
    here.write(a_lead("l1"), a_lead("l2"))
    assert here.owners("l1", "l2") == ["ben", "ben"], "whom the rule excludes stands in for nobody"


@pytest.mark.parametrize(("stand_in", "text"), [("ana", "nobody stands in for oneself"), ("nobody", "'nobody' does not exist")])
def test_a_stand_in_is_another_seller(world: Make, stand_in: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        world().client.sellers.upsert([Seller("ana", stand_in_id=stand_in)])


def test_what_a_full_rule_cannot_take_overflows_to_the_next(world: Make) -> None:
    here = world()
    rules = (a_rule("own", target={"sellers": {"seller_ids": ["ana"]}}), a_rule("overflow", target={"sellers": {"seller_ids": ["ben"]}}))
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", *rules)])
    here.sellers(Seller("ana", capacity=1), Seller("ben"))
    here.write(Record("small", "lead"), Record("urgent", "lead", priority=90))
    assert here.owners("urgent", "small") == ["ana", "ben"]
    assert here.record("small").assignment.rule_id == "leads/overflow"


def test_leads_are_handed_on_around_the_clock(world: Make) -> None:
    here = world("2026-03-05T10:00")
    here.client.config.apply_file(EXAMPLE)
    here.apply(settings={"seller_fields": [{"field_id": "region", "type": "FIELD_TYPE_TEXT"}], **quiet_settings()})
    moments = {"2026-03-05T10:00": "berlin", "2026-03-05T19:00": "new-york", "2026-03-06T00:30": "sydney"}
    for moment, owner in moments.items():
        here.jump(moment)
        here.write(a_lead(f"emea {moment}", region="emea"))
        assert here.owner(f"emea {moment}") == owner
    here.jump("2026-03-05T14:30")
    here.write(a_lead("both work", region="emea"))
    assert here.owner("both work") == "berlin", "two regions work, and it is theirs"
    here.jump("2026-03-07T12:00")
    here.write(a_lead("saturday", region="emea"))
    assert here.owner("saturday") == "berlin", "whose Monday comes"
