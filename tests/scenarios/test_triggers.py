"""Which changes make a record be looked at again, which do not, and what its log says of both."""

from typing import Any

import pytest

from reallot.clients import Seller
from reallot.clients.errors import ReallotError
from reallot.v1 import record_service_pb2

from world import Make, World, a_lead, a_rule, a_segment, kinds, lead_type, quiet_settings


def watched(world: World, **trigger: Any) -> World:
    """Leads with one segment by revenue and a trigger on the stage."""
    world.apply(
        settings=quiet_settings(),
        record_types=[lead_type()],
        segments=[a_segment("big", condition="record.revenue >= 10.0", priority=1), a_segment("rest", a_rule())],
        triggers=[{"trigger_id": "staged", "record_type": "lead", "fields": ["stage"], **trigger}],
    )
    world.sellers(Seller("ana"))
    world.write(a_lead("l", revenue=1.0, stage="new"))
    return world


def log(world: World, record_id: str) -> list[str]:
    request = record_service_pb2.ListDecisionsRequest(record_id=record_id)
    return [d.reason for d in reversed(world.client.stubs.records.ListDecisions(request).decisions)]


def fired(world: World, **fields: Any) -> list[str]:
    return list(world.write(a_lead("l", **fields))[0].fired)


def test_a_change_of_no_watched_field_stands_in_the_log_and_rechecks_nothing(world: Make) -> None:
    here = watched(world())
    before = log(here, "l")
    last = here.events()[-1].number
    assert fired(here, company="Contoso", kind="x") == []
    assert log(here, "l") == [*before, "no watched field changed: company, kind"]
    assert kinds([e for e in here.events() if e.number > last]) == ["CHANGED"]
    assert fired(here, company="Contoso") == []
    assert len(log(here, "l")) == len(before) + 1


def test_a_trigger_rests_for_its_cool_down_and_says_so(world: Make) -> None:
    here = watched(world("2026-03-05T10:00"), cool_down="3600s")
    assert fired(here, stage="won") == ["staged"]
    here.jump("2026-03-05T10:59")
    assert fired(here, stage="lost") == []
    assert log(here, "l")[-1] == "not looked at again yet: the trigger staged rests for this record"
    here.write(a_lead("other", revenue=1.0, stage="new"))
    assert here.write(a_lead("other", stage="won"))[0].fired == ["staged"]
    # The field of a segment's condition is watched all the same.
    assert fired(here, revenue=2.0, stage="open") == ["implied:revenue"]
    here.jump("2026-03-05T11:00")
    assert fired(here, stage="won") == ["staged"]


@pytest.mark.parametrize("cool_down", ["0s", "7776001s"])
def test_a_cool_down_that_the_log_cannot_tell_is_refused(world: Make, cool_down: str) -> None:
    with pytest.raises(ReallotError, match="cool_down"):
        watched(world(), cool_down=cool_down)
