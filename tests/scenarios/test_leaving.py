"""A seller who leaves hands over: to the rules, or to a successor, after a look at what would happen."""

from typing import Any

import pytest

from reallot.clients import Record, Seller
from reallot.clients.errors import InvalidArgument, NotFound
from reallot.v1 import seller_service_pb2, value_pb2

from world import Make, World, a_rule, a_segment, kinds, lead_type, quiet_settings


def office(world: World, room: int = 10) -> World:
    """Carl owns l1 to l3 and a closed record; the rules know him, Ana and Ben."""
    world.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", a_rule())])
    world.sellers(Seller("carl"), Seller("ana", capacity=room), Seller("ben", capacity=room))
    world.write(*(Record(f"l{n}", "lead", {"company": f"C{n}"}, owner="carl") for n in (1, 2, 3)))
    world.write(Record("old", "lead", owner="carl", active=False))
    return world


def retire(world: World, seller_id: str = "carl", **parts: Any) -> seller_service_pb2.RetireSellerResponse:
    request = seller_service_pb2.RetireSellerRequest(seller_id=seller_id, **parts)
    answer: seller_service_pb2.RetireSellerResponse = world.client.stubs.sellers.RetireSeller(request)
    world.settle()
    return answer


RECORDS = ("l1", "l2", "l3", "old")


def test_a_preview_counts_and_changes_nothing(world: Make) -> None:
    here = office(world())
    last = here.events()[-1].number
    assert (retire(here, validate_only=True).records, here.owners(*RECORDS)) == (3, ["carl"] * 4)
    assert (here.events()[-1].number, here.client.sellers.get("carl").assignable) == (last, True)


def test_the_rules_find_new_owners_who_are_told(world: Make) -> None:
    here = office(world())
    last = here.events()[-1].number
    answer = retire(here)
    here.client.runs.wait(answer.run_id)
    assert answer.records == 3
    assert sorted(here.owners("l1", "l2", "l3")) in (["ana", "ana", "ben"], ["ana", "ben", "ben"])
    assert here.owner("old") == "carl"
    assert not here.client.sellers.get("carl").assignable
    told = [event for event in here.events() if event.number > last]
    assert sorted(kinds(told)) == ["ASSIGNED"] * 3 + ["UNASSIGNED"] * 3
    assert kinds([n.event for n in here.notices("carl") if n.number > last]) == ["UNASSIGNED"] * 3
    assert sum(len([n for n in here.notices(s) if n.number > last]) for s in ("ana", "ben")) == 3


def test_a_successor_takes_everything_at_once(world: Make) -> None:
    here = office(world())
    answer = retire(here, successor=value_pb2.Owner(seller_id="ben"))
    assert (answer.records, answer.run_id) == (3, "")
    assert here.owners(*RECORDS) == ["ben", "ben", "ben", "carl"]
    lead = here.record("l1")
    assert (here.status("l1"), lead.assignment.previous_owner.seller_id) == ("ASSIGNED_MANUALLY", "carl")
    assert retire(here).records == 0


@pytest.mark.parametrize("preview", [True, False])
def test_a_successor_without_room_is_refused_and_nothing_changes(world: Make, preview: bool) -> None:
    here = office(world(), room=2)
    with pytest.raises(InvalidArgument, match="no room for 1 of the 3 records"):
        retire(here, successor=value_pb2.Owner(seller_id="ben"), validate_only=preview)
    assert here.owners(*RECORDS) == ["carl"] * 4
    assert here.client.sellers.get("carl").assignable


@pytest.mark.parametrize("successor", ["carl", "nobody"])
def test_a_successor_who_cannot_be_one_is_refused(world: Make, successor: str) -> None:
    here = office(world())
    with pytest.raises((InvalidArgument, NotFound)):
        retire(here, successor=value_pb2.Owner(seller_id=successor))
    assert here.client.sellers.get("carl").assignable


def test_a_team_may_take_over_and_its_members_are_told(world: Make) -> None:
    here = office(world())
    here.apply(teams=[{"team_id": "north"}])
    here.sellers(Seller("ana", team_ids=["north"]))
    last = here.events()[-1].number
    assert retire(here, successor=value_pb2.Owner(team_id="north")).records == 3
    assert here.owners(*RECORDS) == ["team:north"] * 3 + ["carl"]
    assert [kinds([n.event for n in here.notices(s) if n.number > last]) for s in ("carl", "ana", "ben")] == [
        ["REASSIGNED"] * 3,
        ["REASSIGNED"] * 3,
        [],
    ]
    assert here.loads() == {"ana": 0, "ben": 0, "carl": 0}
