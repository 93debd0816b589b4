"""Offers under random histories: loads, log and offers agree after every step, and nobody is asked again at once."""

from collections import defaultdict
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reallot.server.offers import OfferLoop
from reallot.server.services.records import RecordService
from reallot.server.services.sellers import SellerService
from reallot.storage.entities import open_offer
from reallot.v1 import assignment_service_pb2, record_service_pb2, seller_service_pb2, value_pb2
from support.api import a_row
from support.cases import cases
from support.office import HOUR_US, Office, everybody, leads, listed
from support.rows import a_seller, recount

SELLERS, LEADS = ("ann", "ben", "cat"), ("l1", "l2", "l3")
STEPS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(LEADS), st.integers(0, 3)),
    st.tuples(st.just("write"), st.sampled_from(LEADS), st.integers(0, 3)),
    st.tuples(st.just("accept"), st.sampled_from(LEADS), st.just(0)),
    st.tuples(st.just("decline"), st.sampled_from(LEADS), st.just(0)),
    st.tuples(st.just("decline"), st.sampled_from(LEADS), st.just(0)),
    st.tuples(st.sampled_from(["close", "delete", "release"]), st.sampled_from(LEADS), st.just(0)),
    st.tuples(st.just("give"), st.sampled_from(LEADS), st.sampled_from(SELLERS)),
    st.tuples(st.just("retire"), st.sampled_from(SELLERS), st.just(0)),
    st.tuples(st.just("return"), st.sampled_from(SELLERS), st.just(0)),
    st.tuples(st.just("wait"), st.just(""), st.integers(1, 4)),
    st.tuples(st.just("run"), st.just(""), st.just(0)),
)


def open_office(office: Office) -> None:
    office.move()
    hot = {"segment_id": "hot", "record_type": "lead", "priority": 1, "condition": "record.score > 2", "accepts_moves": True}
    ask = listed("ask", *SELLERS, offer={"timeout": "7200s", "remind_after_percent": 50})
    office.apply(*leads(hot | {"rules": [ask], "assign_on_move": True}, everybody("all", ask)))
    office.hire(*(a_seller(name, capacity={"total": 2}) for name in SELLERS))


def fall_due(office: Office) -> None:
    config = office.config
    while office.write(lambda tx: OfferLoop.carry_out(tx, config)):
        pass
    office.work()


def carry_out(office: Office, step: tuple[Any, ...]) -> None:
    verb, name, value = step
    held = {record.record_id: open_offer(record) for record in office.records()}
    match verb:
        case "write":
            office.lead(name, score=value)
        case "accept" | "decline" if held.get(name):
            request = assignment_service_pb2.RespondToOfferRequest(record_id=name, seller_id=held[name], accept=verb == "accept")
            office.call(office.assignment.RespondToOffer, request)
        case "close" if name in held:
            office.upsert(a_row(name, active=False))
        case "delete":
            office.call(RecordService(office.runtime).DeleteRecords, record_service_pb2.DeleteRecordsRequest(record_ids=[name]))
        case "release":
            office.call(office.assignment.ReleaseRecords, assignment_service_pb2.ReleaseRecordsRequest(record_ids=[name]))
        case "give":
            owner = value_pb2.Owner(seller_id=value)
            office.call(office.assignment.AssignRecords, assignment_service_pb2.AssignRecordsRequest(record_ids=[name], owner=owner))
        case "retire":
            office.call(SellerService(office.runtime).RetireSeller, seller_service_pb2.RetireSellerRequest(seller_id=name))
        case "return":
            office.seller(name, assignable=True)
            office.call(SellerService(office.runtime).ReturnSellers, seller_service_pb2.ReturnSellersRequest(seller_ids=[name]))
        case "wait":
            office.runner.run(office.clock.set(office.clock.now_us() + value * HOUR_US))
            fall_due(office)
        case "run":
            office.run()
    office.work()


@settings(max_examples=cases(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=4, max_size=14))
def test_loads_log_and_offers_agree_whatever_happens(shared_office: Office, steps: list[tuple[Any, ...]]) -> None:
    office = shared_office
    open_office(office)
    for step in steps:
        carry_out(office, step)
        records = {record.record_id: record for record in office.records()}
        assert office.loads() == recount(records.values())
        assert all(load.effort <= 2 for load in office.loads())
        told: dict[str, tuple[str, str]] = {}
        for event in office.events():
            after = event.after or {}
            told[event.record_id] = (after.get("owner", {}).get("seller_id", ""), after.get("offered_seller_id", ""))
        assert {i: t for i, t in told.items() if i in records} == {
            i: (r.owner.id if r.owner else "", open_offer(r)) for i, r in records.items()
        }
        offers = office.read(lambda tx: tx.offers.open(office.workspace))
        assert {o.record_id: o.seller_id for o in offers} == {i: s for i, r in records.items() if (s := open_offer(r))}
        assert all(r.assignment == "OFFERED" for r in records.values() if open_offer(r))
    _asked_in_turn(office)


def _asked_in_turn(office: Office) -> None:
    """Nobody is asked twice for a record that has had no owner in between, unless a run asked for by hand has begun anew."""
    asked: defaultdict[str, list[str]] = defaultdict(list)
    for event in office.events():
        before, after = event.before or {}, event.after or {}
        if after.get("owner") or not after.get("active") or event.kind == "DELETED":
            asked[event.record_id].clear()
        offered = after.get("offered_seller_id", "")
        if offered and offered != before.get("offered_seller_id", ""):
            if event.cause["kind"] == "RUN":
                asked[event.record_id].clear()
            assert offered not in asked[event.record_id] or event.cause["kind"] == "RUN"
        ended = before.get("offered_seller_id", "")
        if event.kind == "OFFER_ENDED" and event.cause["kind"] == "OFFER" and "leaves" not in event.cause["detail"]:
            asked[event.record_id].append(ended)


def test_what_is_due_is_done_once_also_over_a_restart_and_an_answer_that_comes_too_late_is_refused(office: Office) -> None:
    open_office(office)
    office.hire(a_seller("ann"), a_seller("ben", assignable=False), a_seller("cat", assignable=False))
    office.lead("l1", score=0)
    office.work()
    office.runner.run(office.clock.set(office.clock.now_us() + HOUR_US))
    config = office.config
    for kind, hours in (("OFFERED", 0), ("OFFER_ENDED", 1)):
        office.runner.run(office.clock.set(office.clock.now_us() + hours * HOUR_US))
        known = len(office.events("l1", kind))
        office.restart()
        for _ in range(3):
            office.write(lambda tx: OfferLoop.carry_out(tx, config))
        assert len(office.events("l1", kind)) == known + 1
    assert office.loads() == []
    assert office.workspace not in dict(office.read(lambda tx: tx.offers.next_due()))
