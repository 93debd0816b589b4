"""Rules that take back what they gave: `release_when` becomes true by a change of a field that it reads."""

import pytest

from reallot.storage.entities import Owner, OwnerKind
from support.api import a_row, seller_owner
from support.office import Office, everybody, leads
from support.rows import a_seller
from support.spoken import english

LOST = {"rule_id": "any", "release_when": "record.score < 3"}


@pytest.fixture
def assigned(office: Office) -> Office:
    """A lead with score 5 that the rule has given to ann."""
    office.apply(*leads(everybody("all", LOST)))
    office.hire(a_seller("ann", capacity={"total": 1}))
    office.lead("L1", score=5)
    office.work()
    assert office.owners("L1") == ["ann"]
    return office


def test_the_record_waits_with_its_previous_owner_and_a_reason(assigned: Office) -> None:
    assigned.lead("L1", score=2)
    assigned.work()
    record = assigned.record("L1")
    assert (record.owner, record.assignment, record.rule_id) == (None, "WAITING", "")
    assert record.previous_owner == Owner(OwnerKind.SELLER, "ann")
    assert english(record.reason) == "rule all/any took it back: its release condition holds"
    (event,) = assigned.read(lambda tx: tx.events.notices_after(assigned.workspace, "ann", 0, 99))[1:]
    assert event.event is not None
    assert (event.kind, english(event.event.draft.sentence)) == ("UNASSIGNED", "L1 was taken from Ann because score changed.")
    (line, *_) = assigned.read(lambda tx: tx.decisions.of_record(assigned.workspace, "L1", None, 9))
    assert (line.status, line.reason) == ("WAITING", record.reason)


def test_its_slot_is_free_at_once(assigned: Office) -> None:
    assigned.lead("L2", score=9)
    assigned.work()
    assert assigned.owners("L2") == [""]
    assigned.lead("L1", score=0)
    assigned.run()
    assert "ann" in assigned.owners("L1", "L2")
    assert assigned.read(lambda tx: tx.sellers.loads(assigned.workspace))[0].records == 1


@pytest.mark.parametrize("change", [{"score": 3}, {"country": "AT"}, {"score": None}])
def test_other_changes_release_nothing(assigned: Office, change: dict[str, object]) -> None:
    assigned.lead("L1", **change)
    assigned.work()
    assert assigned.owners("L1") == ["ann"]


def test_a_condition_that_held_before_releases_nothing(assigned: Office) -> None:
    assigned.lead("L1", score=1)
    assigned.run()
    assert assigned.owners("L1") == ["ann"]
    assigned.lead("L1", score=0)
    assigned.work()
    assert assigned.owners("L1") == ["ann"]


def test_what_a_person_gave_is_not_taken_back(assigned: Office) -> None:
    row = a_row("L1")
    assigned.hire(a_seller("bob"))
    row.record.owner.CopyFrom(seller_owner("bob"))
    row.expected_owner.owner.CopyFrom(seller_owner("ann"))
    row.update_mask.paths.append("owner")
    assigned.upsert(row)
    assigned.lead("L1", score=0)
    assigned.work()
    assert assigned.owners("L1") == ["bob"]


def test_a_closed_record_stays_with_its_owner(assigned: Office) -> None:
    row = a_row("L1", {"score": 0})
    row.record.active = False
    row.update_mask.paths.append("active")
    assigned.upsert(row)
    assigned.work()
    assert assigned.owners("L1") == ["ann"]
