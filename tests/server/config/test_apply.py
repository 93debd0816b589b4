"""Applying a bundle: stored whole, compared, repeated, pruned."""

import pytest

from reallot.v1 import config_pb2, config_service_pb2
from support.api import a_row, a_segment, fields_of, refusal, resource, sales
from support.services import Api

Change = config_service_pb2.ResourceChange


def actions(answer: config_service_pb2.ApplyResponse) -> dict[str, str]:
    return {c.id: config_service_pb2.ChangeAction.Name(c.action).removeprefix("CHANGE_ACTION_") for c in answer.changes}


async def export(api: Api) -> list[config_pb2.ConfigResource]:
    return list((await api.config.Export(config_service_pb2.ExportRequest())).resources)


async def test_everything_of_a_first_bundle_is_created(bare_api: Api) -> None:
    answer = await bare_api.apply(*sales())
    assert set(actions(answer).values()) == {"CREATED"}
    assert answer.config_version == 1


async def test_what_was_exported_changes_nothing_when_applied(api: Api) -> None:
    answer = await api.apply(*await export(api))
    assert set(actions(answer).values()) == {"UNCHANGED"}
    assert answer.config_version == 1


async def test_a_bundle_may_name_what_comes_later_in_it(bare_api: Api) -> None:
    assert len((await bare_api.apply(*reversed(sales()))).changes) == len(sales())


async def test_the_difference_names_paths_and_values(api: Api) -> None:
    changed = a_segment("big", 1, condition="record.revenue >= 2000000.0", rules=[{"rule_id": "same-country"}])
    answer = await api.apply(resource(segment=changed))
    found = {d.path: (d.before, d.after) for d in answer.changes[0].differences}
    assert found["condition"] == ('"record.revenue >= 1000000.0"', '"record.revenue >= 2000000.0"')
    assert found["sequence_id"] == ('"welcome"', "")
    assert set(found) == {"condition", "sequence_id", "rules[0].target"}


async def test_validate_only_compares_but_stores_nothing(api: Api) -> None:
    answer = await api.apply(resource(team={"team_id": "key"}), validate_only=True)
    assert actions(answer) == {"key": "CREATED"}
    assert answer.config_version == 1
    assert not any(r.team.team_id == "key" for r in await export(api))


async def test_prune_deletes_what_the_bundle_leaves_out_of_its_kinds(api: Api) -> None:
    answer = await api.apply(resource(queue={"queue_id": "other"}), prune=True)
    assert actions(answer) == {"other": "CREATED", "inbox": "DELETED"}
    assert any(r.WhichOneof("resource") == "team" for r in await export(api))


async def test_prune_never_leaves_a_reference_open(api: Api) -> None:
    found = await refusal(api.apply(resource(sequence=welcome("other")), prune=True))
    assert found.reason == "UNKNOWN_REFERENCE"
    assert found.fields == ("segment big.sequence_id",)


def welcome(sequence_id: str) -> dict[str, object]:
    return {"sequence_id": sequence_id, "record_type": "lead", "steps": [{"step_id": "hello", "email": {"template": "t"}}]}


async def test_a_repeated_request_gets_the_first_answer(api: Api) -> None:
    first = await api.apply(resource(team={"team_id": "key"}), request_id="once")
    assert await api.apply(resource(team={"team_id": "key"}), request_id="once") == first
    assert actions(first) == {"key": "CREATED"}


async def test_a_request_id_serves_one_payload(api: Api) -> None:
    await api.apply(resource(team={"team_id": "key"}), request_id="once")
    found = await refusal(api.apply(resource(team={"team_id": "other"}), request_id="once"))
    assert (found.code, found.reason) == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")


async def test_an_etag_guards_against_changes_of_others(api: Api) -> None:
    stored = await api.config.GetConfig(config_service_pb2.GetConfigRequest(kind=config_pb2.CONFIG_KIND_TEAM, id="field"))
    await api.apply(resource(team={"team_id": "field", "display_name": "Field sales"}))
    stored.team.display_name = "Out there"
    found = await refusal(api.apply(stored))
    assert (found.code, found.reason) == ("ABORTED", "ETAG_MISMATCH")


async def test_a_repeat_with_an_etag_gets_its_answer_although_the_etag_is_old_by_then(api: Api) -> None:
    stored = await api.config.GetConfig(config_service_pb2.GetConfigRequest(kind=config_pb2.CONFIG_KIND_TEAM, id="field"))
    stored.team.display_name = "Out there"
    first = await api.apply(stored, request_id="once")
    assert await api.apply(stored, request_id="once") == first


async def test_a_distance_without_an_anchor_counts_from_when_it_was_saved_first(api: Api) -> None:
    every = resource(schedule={"schedule_id": "hourly", "every": {"duration": "3600s"}})
    await api.apply(every)
    await api.clock.set(api.clock.now_us() + 60_000_000)
    assert actions(await api.apply(every)) == {"hourly": "UNCHANGED"}


async def test_a_saved_schedule_knows_when_it_fires_next(api: Api) -> None:
    found = await api.config.GetConfig(config_service_pb2.GetConfigRequest(kind=config_pb2.CONFIG_KIND_SCHEDULE, id="mornings"))
    assert found.schedule.next_time.ToJsonString() == "2026-03-03T06:00:00Z"


async def test_a_paused_schedule_does_not_fire(api: Api) -> None:
    paused = {"schedule_id": "mornings", "cron": "0 6 * * 1-5", "state": "RESOURCE_STATE_PAUSED"}
    await api.apply(resource(schedule=paused))
    found = await api.config.GetConfig(config_service_pb2.GetConfigRequest(kind=config_pb2.CONFIG_KIND_SCHEDULE, id="mornings"))
    assert not found.schedule.HasField("next_time")


async def test_the_configurations_of_workspaces_do_not_meet(api: Api) -> None:
    found = await api.config.Export(config_service_pb2.ExportRequest(workspace="other"))
    assert (len(found.resources), found.config_version) == (0, 0)


async def test_whole_numbers_beside_decimals_are_read_as_decimals(api: Api) -> None:
    answer = await api.apply(resource(segment=a_segment("big", 1, condition="record.revenue >= 1000000")))
    assert actions(answer) == {"big": "UPDATED"}


async def test_the_type_of_a_field_with_stored_values_stays(api: Api) -> None:
    await api.upsert(a_row(fields={"note": "x"}))
    lead = {"record_type": "lead", "fields": fields_of(country="TEXT", revenue="DECIMAL", hot="BOOLEAN", note="INTEGER")}
    rest = resource(segment=a_segment("rest", 0, is_default=True))
    found = await refusal(api.apply(resource(record_type=lead), rest))
    assert found.fields == ("resources[0].record_type.fields[3].type",)


@pytest.mark.parametrize("kept", ["note", ""])
async def test_a_dropped_field_comes_back_with_its_type_only(api: Api, kept: str) -> None:
    await api.upsert(a_row(fields={"note": "x"}))
    without = fields_of(country="TEXT", revenue="DECIMAL", hot="BOOLEAN")
    rest = resource(segment=a_segment("rest", 0, is_default=True))
    await api.apply(resource(record_type={"record_type": "lead", "fields": without}), rest)
    again = fields_of(note="TEXT" if kept else "INTEGER")
    call = api.apply(resource(record_type={"record_type": "lead", "fields": without + again}))
    if kept:
        assert actions(await call) == {"lead": "UPDATED"}
    else:
        assert (await refusal(call)).fields == ("resources[0].record_type.fields[3].type",)
