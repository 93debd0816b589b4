"""Offers: a seller accepts, declines or lets it run out; what else happens to a record meanwhile ends its offer and frees the room."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from reallot.clients import Record, Seller
from reallot.clients.commands.offering import offers
from reallot.clients.errors import FailedPrecondition, InvalidArgument, NotFound
from reallot.clients.values import moment, owner_text, timestamp
from reallot.v1 import event_pb2, insight_service_pb2, seller_pb2, seller_service_pb2

from world import Make, World, a_lead, a_rule, a_segment, at, kinds, lead_type, quiet_settings

HOURS = {"hours": "Mon-Fri 09:00-17:00", "zone": "UTC"}
THURSDAY = "2026-03-05T16:00"


def offering(rule_id: str = "ask", *, minutes: int = 120, remind: int = 0, out_after: int | None = None, **parts: Any) -> dict[str, Any]:
    offer = {"timeout": f"{minutes * 60}s", "remind_after_percent": remind} | ({} if out_after is None else {"out_after": out_after})
    return a_rule(rule_id, offer=offer, **parts)


def office(world: World, *sellers: Seller, rules: tuple[dict[str, Any], ...] = (), segments: tuple[Any, ...] = (), **parts: Any) -> World:
    """Leads are offered to whoever's turn it is; without event reruns."""
    leads = a_segment("leads", *(rules or (offering(),)), **parts)
    world.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[*segments, leads])
    world.sellers(*(sellers or (Seller("ana", capacity=5), Seller("ben", capacity=5))))
    return world


def offered(world: World, *record_ids: str) -> list[str]:
    return [world.record(record_id).assignment.offered_seller_id for record_id in record_ids]


def told(world: World, seller_id: str) -> list[str]:
    return kinds([notice.event for notice in world.notices(seller_id)])


def answer(world: World, verb: str, record_id: str, seller_id: str, **parts: Any) -> None:
    getattr(world.client.offers, verb)(record_id, seller_id, **parts)
    world.settle()


def time_off(world: World, seller_id: str, start: str, end: str) -> None:
    absence = seller_pb2.TimeOff(time_off_id=start, start_time=timestamp(at(start)), end_time=timestamp(at(end)))
    world.client.stubs.sellers.AddTimeOff(seller_service_pb2.AddTimeOffRequest(seller_ids=[seller_id], time_off=absence))
    world.settle()


def replayed(world: World) -> dict[str, tuple[str, str]]:
    """Return owner and offer of every record, from the log alone."""
    found: dict[str, tuple[str, str]] = {}
    for event in world.events():
        found[event.record_id] = (owner_text(event.after.owner), event.after.offered_seller_id)
    return found


def test_an_offer_holds_room_until_it_is_accepted(world: Make) -> None:
    here = office(world(), Seller("ana", capacity=1), Seller("ben", capacity=1, display_name="Ben B."))
    here.write(a_lead("l1", company="Acme"), a_lead("l2"), a_lead("l3"))
    assert [here.status(n) for n in ("l1", "l2", "l3")] == ["OFFERED", "OFFERED", "NO_CAPACITY"]
    assert (offered(here, "l1", "l2"), here.owners("l1", "l2")) == (["ana", "ben"], ["", ""])
    assert here.loads() == {"ana": 1, "ben": 1}
    (first,) = here.client.offers.list(seller_id="ana")
    assert (first.record_id, first.title, first.rule_id, moment(first.end_time)) == ("l1", "Acme", "leads/ask", at("2026-03-05T13:20"))
    answer(here, "accept", "l1", "ana")
    assert (here.owner("l1"), here.status("l1"), offered(here, "l1"), here.loads()["ana"]) == ("ana", "ASSIGNED", [""], 1)
    assert [o.record_id for o in here.client.offers.list()] == ["l2"]
    events = here.events(record_ids=["l1"])
    assert kinds(events) == ["CREATED", "OFFERED", "ASSIGNED"]
    assert events[-1].sentence.text == "Acme went to ana because ana accepted it."
    assert told(here, "ana") == ["OFFERED", "ASSIGNED"]
    here.advance("2026-03-06T11:20")
    assert here.owner("l1") == "ana", "what was accepted does not run out"


def test_who_declines_is_not_asked_again_before_a_run_begins_anew(world: Make) -> None:
    here = office(world())
    here.write(a_lead("l1"))
    assert offered(here, "l1") == ["ana"]
    answer(here, "decline", "l1", "ana", reason="not my region")
    assert (offered(here, "l1"), here.loads()) == (["ben"], {"ana": 0, "ben": 1})
    assert told(here, "ana") == ["OFFERED"], "who declines knows it"
    with pytest.raises(FailedPrecondition, match="not offered"):
        here.client.offers.accept("l1", "ana")
    answer(here, "decline", "l1", "ben")
    assert (here.status("l1"), here.loads()) == ("SELLER_NOT_ELIGIBLE", {"ana": 0, "ben": 0})
    assert here.record("l1").assignment.reason == "all 2 fitting sellers have been asked and did not take it"
    request = insight_service_pb2.ExplainRecordRequest(record_id="l1")
    (rule,) = here.client.stubs.insight.ExplainRecord(request).rules
    assert [(v.verdict, v.sellers) for v in rule.verdicts] == [(event_pb2.VERDICT_OFFERED_BEFORE, 2)]
    run = here.run()
    assert (run.counts.offered, run.counts.failed, run.counts.assigned) == (1, 0, 0)
    assert offered(here, "l1") == ["ana"], "asked by hand, it goes round again, in turn"
    answer(here, "decline", "l1", "ana")
    assert offered(here, "l1") == ["ben"]


def test_an_offer_runs_out_in_working_time_after_a_reminder_and_the_seller_leaves_the_pool(world: Make) -> None:
    here = office(world(THURSDAY), Seller("ana", **HOURS), Seller("ben"), rules=(offering(remind=50),))
    here.write(a_lead("l1"))
    (offer,) = here.client.offers.list()
    assert (moment(offer.remind_time), moment(offer.end_time)) == (at("2026-03-05T17:00"), at("2026-03-06T10:00"))
    here.advance("2026-03-06T09:59")
    assert (offered(here, "l1"), told(here, "ana")) == (["ana"], ["OFFERED", "OFFERED"])
    reminder = here.notices("ana")[-1].event
    assert (reminder.before.offered_seller_id, reminder.sentence.text) == ("ana", "l1 is still offered to ana, until 2026-03-06 10:00 UTC.")
    here.advance("2026-03-06T10:00")
    assert (offered(here, "l1"), told(here, "ana")[-1]) == (["ben"], "OFFER_ENDED")
    ana = here.client.sellers.get("ana")
    assert moment(ana.not_responding_since_time) == at("2026-03-06T10:00")
    assert ana.not_responding_reason.startswith("let an offer run out; comes back by ReturnSellers")
    here.write(a_lead("l2"), a_lead("l3"))
    assert offered(here, "l2", "l3") == ["ben", "ben"], "nobody asks who does not answer"
    here.advance("2026-03-06T12:00")
    # Nobody is left.
    assert [here.status(n) for n in ("l1", "l2", "l3")] == ["SELLER_NOT_ELIGIBLE"] * 3
    assert here.record("l2").assignment.reason.startswith("all 2 fitting sellers do not answer offers")
    assert kinds(here.events(record_ids=["l1"])).count("OFFER_ENDED") == 2


@pytest.mark.parametrize("how", ["call", "calendar", "switch", "answer"])
def test_who_let_an_offer_run_out_comes_back(world: Make, how: str) -> None:
    here = office(world(), Seller("ana"), rules=(offering(minutes=60), offering("late", minutes=600, condition='record.kind == "slow"')))
    here.apply(settings={})
    if how == "answer":
        here.apply(segments=[a_segment("leads", offering("late", minutes=600, condition='record.kind == "slow"'), offering(minutes=60))])
        here.write(a_lead("slow", kind="slow"))
    here.write(a_lead("l1"))
    here.advance("2026-03-05T13:00")
    assert here.client.sellers.get("ana").HasField("not_responding_since_time")
    here.write(a_lead("l2"))
    assert here.status("l2") == "SELLER_NOT_ELIGIBLE"
    match how:
        case "call":
            assert here.client.sellers.come_back(["ana"]) == 1
            assert here.client.sellers.come_back(["ana"]) == 0
        case "calendar":
            here.sellers(Seller("ana", hours="Mon-Sun 00:00-24:00", zone="UTC"))
        case "switch":
            here.sellers(Seller("ana", assignable=False))
            here.sellers(Seller("ana", assignable=True))
        case "answer":
            here.client.offers.decline("slow", "ana")
    here.settle()
    assert not here.client.sellers.get("ana").HasField("not_responding_since_time")
    assert offered(here, "l2") == ["ana"], "what waits is tried again, as she is back"
    assert here.status("l1") == "SELLER_NOT_ELIGIBLE", "but not at once with whom it was offered to"


def test_how_often_a_seller_may_stay_silent_is_said_by_the_rule(world: Make) -> None:
    here = office(world(), Seller("ana"), rules=(offering(minutes=10, out_after=2),))
    here.write(a_lead("l1"))
    here.advance("2026-03-05T12:00")
    here.write(a_lead("l2"))
    answer(here, "accept", "l2", "ana")
    here.write(a_lead("l3"))
    here.advance("2026-03-05T13:00")
    assert not here.client.sellers.get("ana").HasField("not_responding_since_time"), "they must follow one another"
    here.write(a_lead("l4"))
    here.advance("2026-03-05T14:00")
    assert here.client.sellers.get("ana").not_responding_reason.startswith("let 2 offers in a row run out")
    with pytest.raises(NotFound):
        here.client.sellers.come_back(["nobody"])


def _close(here: World) -> None:
    here.write(Record("l1", "lead", active=False))


def _delete(here: World) -> None:
    here.client.records.delete(["l1"])


def _by_hand(here: World) -> None:
    here.give("carl", "l1")


def _by_the_crm(here: World) -> None:
    here.write(Record("l1", "lead", owner="carl", expected_owner=""))


def _release(here: World) -> None:
    here.release("l1")


def _move(here: World) -> None:
    here.write(a_lead("l1", stage="won"))


def _retire(here: World) -> None:
    here.client.stubs.sellers.RetireSeller(seller_service_pb2.RetireSellerRequest(seller_id="ana"))
    here.settle()


def _switch_off(here: World) -> None:
    here.sellers(Seller("ana", assignable=False))


def _leave(here: World) -> None:
    time_off(here, "ana", "2026-03-05T08:00", "2026-03-09T08:00")


def _no_longer_fits(here: World) -> None:
    here.write(a_lead("l1", kind="x"))


ENDS: dict[str, tuple[Callable[[World], None], str, str, str, str]] = {
    "closed": (_close, "", "", "WAITING", "OFFER_ENDED"),
    "deleted": (_delete, "", "", "", "DELETED"),
    "given by hand": (_by_hand, "carl", "", "ASSIGNED_MANUALLY", "ASSIGNED"),
    "given by the CRM": (_by_the_crm, "carl", "", "ASSIGNED_MANUALLY", "ASSIGNED"),
    "released": (_release, "", "", "WAITING", "OFFER_ENDED"),
    "moved": (_move, "", "", "RULES_NOT_RUN_ON_MOVE", "RESEGMENTED"),
    "seller retires": (_retire, "", "ben", "OFFERED", "OFFERED"),
    "seller is switched off": (_switch_off, "", "ben", "OFFERED", "OFFERED"),
    "seller goes on leave": (_leave, "", "ben", "OFFERED", "OFFERED"),
    "seller no longer fits": (_no_longer_fits, "", "ben", "OFFERED", "OFFERED"),
}


@pytest.mark.parametrize("name", ENDS)
def test_whatever_ends_an_offer_frees_the_room(world: Make, name: str) -> None:
    act, owner, next_seller, status, kind = ENDS[name]
    rules = (
        offering(
            target={"matching": 'record.kind == "x" && seller.seller_id == "ben" || record.kind != "x" && seller.seller_id != "carl"'}
        ),
    )
    won = a_segment("won", condition='record.stage == "won"', priority=1, accepts_moves=True)
    here = office(world(), Seller("ana", capacity=1), Seller("ben"), Seller("carl"), rules=rules, segments=(won,))
    here.write(a_lead("l1", kind="y"))
    assert (offered(here, "l1"), here.loads()["ana"]) == (["ana"], 1)
    act(here)
    assert (here.loads()["ana"], here.client.offers.list(seller_id="ana")) == (0, [])
    assert kinds(here.events(record_ids=["l1"]))[-1] == kind
    assert replayed(here) == {"l1": (owner, next_seller)}
    if name != "deleted":
        assert (here.owner("l1"), offered(here, "l1"), here.status("l1")) == (owner, [next_seller], status)
        assert told(here, "ana")[-1] in ("OFFER_ENDED", "ASSIGNED", "RESEGMENTED", "OFFERED")
        assert len(told(here, "ana")) == 2, "she hears that it is gone"
        here.advance("2026-03-05T20:00")
        assert not here.client.sellers.get("ana").HasField("not_responding_since_time"), "it did not run out"


def test_a_change_that_leaves_the_seller_in_place_leaves_the_offer(world: Make) -> None:
    here = office(world(), rules=(offering(condition='record.kind != "none"'),))
    here.write(a_lead("l1", kind="a"))
    (before,) = here.client.offers.list()
    here.write(a_lead("l1", kind="b", company="New name"))
    here.run(selection={"resegment": True})
    here.run(selection={"owned_but_ineligible": True})
    (after,) = here.client.offers.list()
    assert (after.start_time, after.end_time, after.title) == (before.start_time, before.end_time, "New name")
    assert told(here, "ana") == ["OFFERED"]


def test_leave_that_is_to_come_ends_the_offer_when_it_begins_and_a_short_absence_only_lengthens_it(world: Make) -> None:
    here = office(world(THURSDAY), Seller("ana", **HOURS), Seller("ben"))
    here.write(a_lead("l1"))
    time_off(here, "ana", "2026-03-05T16:30", "2026-03-05T17:00")
    (offer,) = here.client.offers.list()
    assert moment(offer.end_time) == at("2026-03-06T10:30")
    time_off(here, "ana", "2026-03-06T10:00", "2026-03-13T17:00")
    here.advance("2026-03-06T09:59")
    assert offered(here, "l1") == ["ana"]
    here.advance("2026-03-06T10:00")
    assert offered(here, "l1") == ["ben"]
    assert "went away" in here.events(record_ids=["l1"])[-2].sentence.text
    assert not here.client.sellers.get("ana").HasField("not_responding_since_time")


def test_a_moved_record_whose_owner_is_to_be_found_anew_is_offered_before_it_changes_hands(world: Make) -> None:
    rules = (offering(target={"sellers": {"seller_ids": ["ben"]}}),)
    won = a_segment("won", *rules, condition='record.stage == "won"', priority=1, accepts_moves=True, assign_on_move=True)
    here = office(world(), rules=(a_rule("give", target={"sellers": {"seller_ids": ["ana"]}}),), segments=(won,))
    here.write(a_lead("l1"), a_lead("l2"))
    here.give("ben", "l2")
    here.write(a_lead("l1", stage="won"), a_lead("l2", stage="won"))
    assert (here.owners("l1", "l2"), offered(here, "l1", "l2")) == (["", "ben"], ["ben", ""]), "who has it need not accept"
    assert here.loads() == {"ana": 0, "ben": 2}


def test_a_paused_workspace_lets_sellers_answer_and_does_nothing_by_itself(world: Make) -> None:
    here = office(world())
    here.write(a_lead("l1"), a_lead("l2"))
    here.apply(settings=quiet_settings(paused=True))
    here.advance("2026-03-05T20:00")
    assert offered(here, "l1", "l2") == ["ana", "ben"]
    answer(here, "accept", "l1", "ana")
    here.apply(settings=quiet_settings())
    here.settle()
    assert (here.owners("l1"), offered(here, "l2")) == (["ana"], ["ana"]), "what ran out meanwhile ends on resume"


def pool(world: World, *sellers: Seller, rules: tuple[dict[str, Any], ...] = (), **settings: Any) -> World:
    """Leads wait until somebody claims them; those in the queue `support` wait there."""
    leads = a_segment("leads", *(rules or (a_rule(),)), on_arrival="ON_ARRIVAL_WAIT")
    world.apply(settings=quiet_settings(**settings), queues=[{"queue_id": "support"}], record_types=[lead_type()], segments=[leads])
    world.sellers(*(sellers or (Seller("ana"), Seller("ben"))))
    return world


def claimed(world: World, seller_id: str, **wanted: Any) -> str:
    found = world.client.offers.claim_next(seller_id, **wanted)
    world.settle()
    return "" if found is None else str(found.record_id)


def test_a_seller_claims_the_most_urgent_and_oldest_record_that_fits(world: Make) -> None:
    fitting = a_rule(target={"matching": 'record.kind != "ben only" || seller.seller_id == "ben"'})
    here = pool(world(), Seller("ana", capacity=2), Seller("ben"), rules=(fitting,))
    here.write(
        Record("urgent", "lead", {"kind": "ben only"}, priority=90),
        Record("old", "lead", {"kind": "x"}, created_time=at("2026-03-01T00:00")),
        Record("young", "lead", {"kind": "x"}, created_time=at("2026-03-04T00:00")),
    )
    assert {here.status(n) for n in ("urgent", "old", "young")} == {"WAITING"}
    assert claimed(here, "ana") == "old"
    assert (here.status("old"), offered(here, "old"), here.loads()["ana"]) == ("OFFERED", ["ana"], 1)
    assert claimed(here, "ben") == "urgent"
    assert [(o.record_id, o.claimed) for o in here.client.offers.list()] == [("old", True), ("urgent", True)]
    answer(here, "accept", "old", "ana")
    assert (here.owner("old"), here.status("old"), here.record("old").assignment.rule_id) == ("ana", "ASSIGNED", "leads/all")
    assert claimed(here, "ana", segment_ids=["leads"]) == "young"
    here.write(a_lead("more", kind="x"))
    assert claimed(here, "ana") == "", "there is no room for a third"
    answer(here, "decline", "young", "ana")
    assert (here.status("young"), offered(here, "young")) == ("WAITING", [""]), "what is given back waits as before"
    assert claimed(here, "ana") == "young", "who asks may have it again"
    assert kinds(here.events(record_ids=["young"])) == ["CREATED", "CHANGED", "OFFERED", "OFFER_ENDED", "OFFERED"]
    assert told(here, "ana") == ["ASSIGNED"], "who claims knows it"


def test_a_claim_lapses_unless_it_is_accepted_or_extended(world: Make) -> None:
    here = pool(world())
    here.write(a_lead("l1"))
    assert claimed(here, "ana", lease=timedelta(minutes=10)) == "l1"
    assert claimed(here, "ben") == ""
    here.advance("2026-03-05T11:29")
    assert moment(here.client.offers.extend("l1", "ana").end_time) == at("2026-03-05T11:44")
    here.advance("2026-03-05T11:43")
    assert offered(here, "l1") == ["ana"]
    here.advance("2026-03-05T11:44")
    assert (offered(here, "l1"), here.status("l1"), here.loads()["ana"]) == ([""], "WAITING", 0)
    assert told(here, "ana") == ["OFFER_ENDED"]
    assert not here.client.sellers.get("ana").HasField("not_responding_since_time")
    with pytest.raises(FailedPrecondition, match="not any more"):
        here.client.offers.extend("l1", "ana")
    assert claimed(here, "ben") == "l1"
    with pytest.raises(InvalidArgument, match="24 hours"):
        here.client.offers.claim_next("ben", lease=timedelta(hours=25))
    with pytest.raises(InvalidArgument, match="'none' does not exist"):
        here.client.offers.claim_next("ben", segment_ids=["none"])
    here.sellers(Seller("ben", assignable=False))
    assert (offered(here, "l1"), here.status("l1")) == ([""], "WAITING")
    with pytest.raises(FailedPrecondition, match="switched off"):
        here.client.offers.claim_next("ben")


def test_what_a_queue_owns_stays_there_until_it_is_accepted(world: Make) -> None:
    here = pool(world(), Seller("ana", capacity=1), Seller("ben"))
    here.write(Record("q1", "lead", owner="queue:support"), Record("q2", "lead", owner="queue:support"))
    assert claimed(here, "ana", queue_ids=["support"]) == "q1"
    assert (here.owner("q1"), here.loads()["ana"]) == ("queue:support", 1)
    assert claimed(here, "ana") == ""
    here.advance("2026-03-05T11:35")
    assert (here.owner("q1"), here.status("q1"), here.loads()["ana"]) == ("queue:support", "ASSIGNED_MANUALLY", 0)
    assert [claimed(here, "ana"), claimed(here, "ben")] == ["q1", "q2"]
    answer(here, "accept", "q1", "ana")
    here.give("ana", "q2", force=True)
    assert here.owners("q1", "q2") == ["ana", "ana"]
    assert (here.loads(), here.client.offers.list()) == ({"ana": 2, "ben": 0}, [])
    assert here.record("q1").assignment.previous_owner.queue_id == "support"
    assert kinds(here.events(record_ids=["q1"]))[-1] == "REASSIGNED"


def test_two_sellers_never_claim_the_same_record(world: Make) -> None:
    sellers = [Seller(f"s{n:02}", capacity=3) for n in range(16)]
    here = pool(world(), *sellers)
    here.write(*(a_lead(f"l{n:02}") for n in range(40)))

    async def everybody() -> list[Any]:
        calls = [here.client.inner.offers.claim_next(seller.seller_id) for _ in range(3) for seller in sellers]
        return await asyncio.gather(*calls)

    got = [found.record_id for found in here.client.run(everybody()) if found is not None]
    assert sorted(got) == [f"l{n:02}" for n in range(40)], "each once"
    assert sum(here.loads().values()) == 40
    assert max(here.loads().values()) <= 3


def test_the_command_line_lists_offers_and_answers_them(world: Make, address: str) -> None:
    here = office(world())
    here.write(a_lead("l1", company="Acme"), a_lead("l2"))
    where = ["--address", address, "--workspace", here.client.inner.workspace]

    def call(*arguments: str, code: int = 0) -> str:
        ended = CliRunner().invoke(offers, [*arguments, *where, "--json"])
        assert ended.exit_code == code, ended.output
        here.settle()
        return ended.output

    assert [json.loads(line)["seller_id"] for line in call("list").splitlines()] == ["ana", "ben"]
    call("accept", "l1", "--seller", "ana")
    call("decline", "l2", "--seller", "ben", "--reason", "no time")
    assert (here.owner("l1"), offered(here, "l2")) == ("ana", ["ana"])
    here.apply(segments=[a_segment("leads", a_rule(), on_arrival="ON_ARRIVAL_WAIT")])
    here.write(a_lead("l3"))
    assert json.loads(call("claim", "ben", "--segment", "leads"))["record_id"] == "l3"
    assert json.loads(call("extend", "l3", "--seller", "ben", "--minutes", "30"))["claimed"]
    call("claim", "ben", code=1)
