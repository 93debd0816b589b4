"""The owner is Reallot's: quiet imports, echoes, stale owners, conflicts, and repeats of the same request."""

import pytest

from reallot.clients import ReallotError, Record, Seller
from reallot.v1 import assignment_service_pb2, event_service_pb2, record_service_pb2, run_pb2

from world import Make, World, a_lead, a_rule, a_segment, kinds, lead_type, quiet_settings


def a_desk(world: World, **segment: object) -> None:
    steps = [{"step_id": "s", "call": {"subject": "hello"}}]
    sequence = {"sequence_id": "outreach", "record_type": "lead", "steps": steps}
    leads = a_segment("leads", a_rule(), sequence_id="outreach", **segment)
    world.apply(settings=quiet_settings(), record_types=[lead_type()], sequences=[sequence], segments=[leads])
    world.sellers(Seller("ana", capacity=2_500), Seller("ben", capacity=3))


def test_a_first_import_of_owned_records_notifies_and_enrols_nobody(world: Make) -> None:
    here = world()
    a_desk(here)
    here.write(*(Record(f"r{n:04d}", "lead", owner="ana") for n in range(2_000)), quiet=True)
    assert here.notices("ana") == []
    records = here.client.records.list()
    assert len(records) == 2_000
    assert {(r.segment_id, r.owner.seller_id, r.enrollment.enrollment_id) for r in records} == {("leads", "ana", "")}
    assert here.loads()["ana"] == 2_000


def test_an_echo_of_the_owner_changes_nothing(world: Make) -> None:
    here = world()
    a_desk(here)
    here.write(a_lead("a", stage="new"))
    before, events = here.record("a"), len(here.events())
    result = here.write(Record("a", "lead", {"stage": "new"}, owner=here.owner("a"), expected_owner=""))[0]
    assert not result.HasField("conflict")
    assert here.record("a").etag == before.etag
    assert len(here.events()) == events


def test_a_stale_owner_in_a_full_upsert_does_not_undo_a_decision(world: Make) -> None:
    here = world()
    a_desk(here)
    here.write(a_lead("a"))
    here.give("ben", "a")
    here.write(Record("a", "lead", {"stage": "warm"}, owner="ana"))
    assert here.owner("a") == "ben"
    result = here.write(Record("a", "lead", owner="ana", expected_owner="ana"))[0]
    assert result.conflict.kind == record_service_pb2.CONFLICT_KIND_OWNER_CONFLICT
    assert result.conflict.stored_owner.seller_id == "ben"
    assert here.owner("a") == "ben"


def test_a_new_owner_is_a_manual_assignment_when_the_stored_one_is_expected(world: Make) -> None:
    here = world()
    a_desk(here)
    here.write(a_lead("a"))
    owner = here.owner("a")
    other = "ben" if owner == "ana" else "ana"
    here.write(Record("a", "lead", owner=other, expected_owner=owner))
    assert (here.owner("a"), here.status("a")) == (other, "ASSIGNED_MANUALLY")
    assert kinds(here.events(owner_changed=True)) == ["ASSIGNED", "REASSIGNED"]


def test_a_manual_assignment_above_the_maximum_needs_force(world: Make) -> None:
    here = world()
    a_desk(here, on_arrival="ON_ARRIVAL_WAIT")
    here.write(*(a_lead(f"r{n}") for n in range(4)))
    outcomes = [r.outcome for r in here.give("ben", "r0", "r1", "r2", "r3")]
    assert outcomes == [0, 0, 0, assignment_service_pb2.MANUAL_OUTCOME_NO_CAPACITY]
    assert here.owner("r3") == ""
    here.give("ben", "r3", force=True)
    assert here.owner("r3") == "ben"
    assert here.client.sellers.get("ben").over_capacity


def test_a_repeated_request_has_one_effect(world: Make) -> None:
    here = world()
    a_desk(here, on_arrival="ON_ARRIVAL_WAIT")
    here.write(a_lead("a"))
    first = here.client.runs.start(run_pb2.RunSelection(), request_id="once")
    again = here.client.runs.start(run_pb2.RunSelection(), request_id="once")
    assert first.run_id == again.run_id
    with pytest.raises(ReallotError) as caught:
        here.client.runs.start(run_pb2.RunSelection(record_type="lead"), request_id="once")
    assert caught.value.reason == "REQUEST_ID_REUSED"


def test_notices_are_acknowledged_on_every_device(world: Make) -> None:
    here = world()
    a_desk(here)
    here.write(a_lead("a"), a_lead("b"))
    numbers = [n.number for n in here.notices("ana")]
    assert numbers
    assert here.client.events.acknowledge("ana", numbers=numbers) == 0
    request = event_service_pb2.ListNotificationsRequest(seller_id="ana", unread_only=True)
    assert list(here.client.stubs.events.ListNotifications(request).notifications) == []


def test_many_notices_of_one_run_become_a_digest(world: Make) -> None:
    here = world()
    a_desk(here, on_arrival="ON_ARRIVAL_WAIT")
    here.write(*(a_lead(f"r{n:02d}") for n in range(60)))
    here.run()
    found = here.notices("ana")
    assert [n.WhichOneof("content") for n in found] == ["digest"]
    assert found[0].digest.gained == 57
    assert [n.WhichOneof("content") for n in here.notices("ben")] == ["event"] * 3


def test_teams_and_queues_that_may_no_longer_own_give_their_records_up_when_asked(world: Make) -> None:
    here = world()
    groups = {"teams": [{"team_id": "east"}, {"team_id": "west"}], "queues": [{"queue_id": "late"}]}
    rules = [
        a_rule("east", condition='record.stage == "east"', target={"team": {"team_ids": ["east"]}}),
        a_rule("late", condition='record.stage == "late"', target={"queue": {"queue_ids": ["late"]}}),
        a_rule("any", condition='record.stage != "none"'),
    ]
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", *rules)], **groups)
    here.sellers(Seller("ana"))
    here.write(*(a_lead(stage, stage=stage) for stage in ("east", "late", "none")))
    here.write(Record("hand", "lead", {"stage": "east"}, owner="team:west"))
    assert here.owners("east", "late", "hand") == ["team:east", "queue:late", "team:west"]
    # Those who may own go on; who never might gives up only when a run asks.
    here.run()
    assert here.owner("hand") == "team:west"
    asks = {"selection": {"owned_but_ineligible": True}}
    assert here.run(**asks).counts.moved == 1
    assert here.owners("east", "late", "hand") == ["team:east", "queue:late", "team:east"]
    here.apply(
        teams=[{"team_id": "east", "state": "RESOURCE_STATE_INACTIVE"}], queues=[{"queue_id": "late", "state": "RESOURCE_STATE_PAUSED"}]
    )
    assert here.run(**asks).counts.moved == 3
    assert here.owners("east", "late", "hand") == ["ana"] * 3
