"""Why a record has no owner: one status for the whole chain of rules, and what became of every seller."""

from typing import Any

import pytest

from reallot.server.convert.sellers import to_document
from reallot.server.road.reasons import PRECEDENCE, RuleTrace, sentence, shown_status
from reallot.storage.entities import Seller
from support.api import a_row, instant, office_hours
from support.office import HOUR_US, Office, everybody, leads, listed
from support.rows import a_seller
from support.spoken import english

AWAY = to_document(office_hours("UTC", days=(2,)))
NOW = "0s"


def status_of(office: Office, *rules: dict[str, Any], sellers: tuple[Seller, ...] = (), **fields: Any) -> str:
    office.apply(*leads(everybody("all", *rules)))
    office.hire(*sellers)
    office.lead("L1", **fields)
    office.work()
    return office.record("L1").assignment


FULL, OFF, AWAY_NOW = a_seller("full", capacity={"total": 0}), a_seller("off", assignable=False), a_seller("away", calendar=AWAY)


@pytest.mark.parametrize(
    ("sellers", "status"),
    [
        ((), "NO_SELLER_MATCHED"),
        ((OFF,), "SELLER_NOT_ELIGIBLE"),
        ((a_seller("roleless", roles_ok=False),), "SELLER_NOT_ELIGIBLE"),
        ((AWAY_NOW,), "NO_AVAILABILITY"),
        ((FULL,), "NO_CAPACITY"),
        ((OFF, AWAY_NOW), "NO_AVAILABILITY"),
        ((AWAY_NOW, FULL), "NO_CAPACITY"),
        ((OFF, FULL), "NO_CAPACITY"),
        ((OFF, AWAY_NOW, FULL, a_seller("free")), "ASSIGNED"),
    ],
)
def test_within_a_rule_the_filter_that_left_nobody_gives_the_status(office: Office, sellers: tuple[Seller, ...], status: str) -> None:
    assert status_of(office, {"rule_id": "r", "available_within": NOW}, sellers=sellers) == status


@pytest.mark.parametrize(
    ("rules", "status"),
    [
        ([], "NO_RULE_IN_SEGMENT"),
        ([{"rule_id": "no", "condition": "record.score > 5"}], "NO_RULE_MATCHED"),
        ([{"rule_id": "no", "condition": "record.score > 5"}, listed("r", "nobody")], "NO_SELLER_MATCHED"),
        ([listed("r", "nobody"), listed("f", "full")], "NO_CAPACITY"),
        ([listed("f", "full"), listed("o", "off")], "SELLER_NOT_ELIGIBLE"),
        ([listed("f", "full"), {**listed("a", "away"), "available_within": NOW}], "NO_CAPACITY"),
    ],
)
def test_of_several_rules_the_gravest_failure_is_shown(office: Office, rules: list[dict[str, Any]], status: str) -> None:
    segment = everybody("all", *rules) | {"rules": rules}
    office.apply(*leads(segment))
    office.hire(FULL, OFF, AWAY_NOW)
    office.lead("L1", score=1)
    office.work()
    assert office.record("L1").assignment == status


def test_a_record_older_than_its_rule_considers_is_too_old_and_overdue(office: Office) -> None:
    office.apply(*leads(everybody("all", {"rule_id": "young", "consider_created_within": "86400s"})))
    office.hire(a_seller("ann"))
    office.upsert(a_row("old", created_time=instant("2026-02-01T00:00")), a_row("new"))
    office.work()
    assert (office.record("old").assignment, office.owner("new")) == ("RECORD_TOO_OLD", "ann")
    assert office.record("old").overdue_us == office.clock.now_us()


def test_a_record_that_nobody_reaches_in_time_is_overdue_until_somebody_does(office: Office) -> None:
    assert status_of(office, {"rule_id": "r", "available_within": NOW}, sellers=(AWAY_NOW,)) == "NO_AVAILABILITY"
    assert office.record("L1").overdue_us is not None
    office.runner.run(office.clock.set(office.clock.now_us() + 25 * HOUR_US))
    office.run()
    assert (office.owner("L1"), office.record("L1").overdue_us) == ("away", None)


def test_the_next_rule_is_tried_when_the_first_finds_nobody(office: Office) -> None:
    assert status_of(office, listed("f", "full"), listed("g", "free"), sellers=(FULL, a_seller("free"))) == "ASSIGNED"
    assert office.record("L1").rule_id == "all/g"


def test_a_rule_that_stops_lets_no_later_rule_try(office: Office) -> None:
    stop = listed("f", "full") | {"on_no_seller": "ON_NO_SELLER_STOP"}
    assert status_of(office, stop, listed("g", "free"), sellers=(FULL, a_seller("free"))) == "NO_CAPACITY"


def test_a_rule_that_stops_stops_only_what_it_matches(office: Office) -> None:
    stop = listed("f", "full") | {"on_no_seller": "ON_NO_SELLER_STOP", "condition": "record.score > 5"}
    assert status_of(office, stop, listed("g", "free"), sellers=(FULL, a_seller("free")), score=1) == "ASSIGNED"


def test_the_younger_of_two_records_for_one_slot_is_told_who_took_it(office: Office) -> None:
    office.apply(*leads(everybody()))
    office.hire(a_seller("ann", capacity={"total": 1}))
    office.upsert(a_row("young", created_time=instant("2026-03-01T09:00")), a_row("old", created_time=instant("2026-03-01T08:00")))
    office.work()
    found = office.record("young")
    assert (office.owner("old"), found.assignment) == ("ann", "NO_CAPACITY")
    assert english(found.reason) == "the last free slots went to records that come before it"


def test_priority_comes_before_age(office: Office) -> None:
    office.apply(*leads(everybody()))
    office.hire(a_seller("ann", capacity={"total": 1}))
    office.upsert(a_row("old", created_time=instant("2026-03-01T08:00")), a_row("urgent", priority=90))
    office.work()
    assert office.owners("old", "urgent") == ["", "ann"]


@pytest.mark.parametrize(("key", "name"), [("by_record_type", "lead"), ("by_segment", "all")])
def test_maxima_of_a_type_and_of_a_segment_hold_beside_the_total(office: Office, key: str, name: str) -> None:
    office.apply(*leads(everybody()))
    office.hire(a_seller("ann", capacity={"total": 5, key: {name: 1}}))
    office.upsert(a_row("L1"), a_row("L2"))
    office.work()
    assert sorted(r.assignment for r in office.records()) == ["ASSIGNED", "NO_CAPACITY"]


def test_a_rule_without_the_capacity_option_goes_beyond_the_maximum_and_leaves_capped_rules_their_slots(office: Office) -> None:
    capped = listed("capped", "ann") | {"condition": "record.score > 5"}
    office.apply(*leads(everybody("all", capped, listed("open", "ann") | {"use_capacity": False})))
    office.hire(a_seller("ann", capacity={"total": 1}))
    office.upsert(*(a_row(f"L{i}", {"score": i}) for i in (1, 2, 9)))
    office.work()
    assert [(r.record_id, r.assignment, r.rule_id) for r in office.records()] == [
        ("L1", "ASSIGNED", "all/open"),
        ("L2", "ASSIGNED", "all/open"),
        ("L9", "ASSIGNED", "all/capped"),
    ]


@pytest.mark.parametrize("status", PRECEDENCE)
def test_every_status_has_a_sentence(status: str) -> None:
    assert "  " not in english(sentence(status, "All", [RuleTrace("all/r", status, {"NO_CAPACITY": 2})]))


def test_a_rule_that_had_somebody_lost_the_slot() -> None:
    assert shown_status([RuleTrace("a", "ASSIGNED", {}), RuleTrace("b", "NO_SELLER_MATCHED", {})]) == "NO_CAPACITY"
