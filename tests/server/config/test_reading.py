"""Reading the configuration: one, many, its history; deleting; trying out."""

import pytest

from reallot.v1 import config_pb2, config_service_pb2, seller_pb2, value_pb2
from support.api import a_row, a_segment, a_seller_row, instant, refusal, resource, seller_owner
from support.services import Api

KIND = config_pb2.ConfigKind


async def get(api: Api, kind: str, name: str) -> config_pb2.ConfigResource:
    return await api.config.GetConfig(config_service_pb2.GetConfigRequest(kind=KIND.Value(f"CONFIG_KIND_{kind}"), id=name))


async def delete(api: Api, kind: str, name: str) -> config_service_pb2.DeleteConfigResponse:
    return await api.config.DeleteConfig(config_service_pb2.DeleteConfigRequest(kind=KIND.Value(f"CONFIG_KIND_{kind}"), id=name))


async def test_one_resource_comes_with_etag_and_times(api: Api) -> None:
    found = await get(api, "TEAM", "field")
    assert (found.team.team_id, found.etag) == ("field", "1")
    assert found.create_time == instant("2026-03-02T08:00")


async def test_the_settings_are_a_resource_too(api: Api) -> None:
    assert len((await get(api, "SETTINGS", "settings")).settings.seller_fields) == 2


async def test_what_does_not_exist_is_not_found(api: Api) -> None:
    found = await refusal(get(api, "SEGMENT", "none"))
    assert (found.code, found.reason, found.metadata) == ("NOT_FOUND", "CONFIG_NOT_FOUND", {"segment": "none"})


async def test_a_kind_must_be_said(api: Api) -> None:
    assert (await refusal(get(api, "UNSPECIFIED", "field"))).fields == ("kind",)


async def test_pages_give_everything_once_in_order(api: Api) -> None:
    seen, token = [], ""
    while True:
        page = await api.config.ListConfig(config_service_pb2.ListConfigRequest(page_size=3, page_token=token))
        seen += [r.WhichOneof("resource") for r in page.resources]
        token = page.next_page_token
        if not token:
            break
    assert seen == sorted(seen)
    assert len(seen) == 11


async def test_a_page_token_serves_its_own_filter(api: Api) -> None:
    page = await api.config.ListConfig(config_service_pb2.ListConfigRequest(page_size=1))
    other = config_service_pb2.ListConfigRequest(kind=KIND.CONFIG_KIND_TEAM, page_token=page.next_page_token)
    found = await refusal(api.config.ListConfig(other))
    assert (found.code, found.reason, found.fields) == ("INVALID_ARGUMENT", "PAGE_TOKEN_MISMATCH", ("page_token",))


@pytest.mark.parametrize("token", ["x", "ZZZZ", "äöü", "A" * 5_000])
async def test_a_page_token_that_is_none_is_refused(api: Api, token: str) -> None:
    found = await refusal(api.config.ListConfig(config_service_pb2.ListConfigRequest(page_token=token)))
    assert found.reason == "PAGE_TOKEN_MISMATCH"


async def test_a_negative_page_is_refused(api: Api) -> None:
    found = await refusal(api.config.ListConfig(config_service_pb2.ListConfigRequest(page_size=-1)))
    assert found.fields == ("page_size",)


async def test_the_history_says_who_changed_what(api: Api) -> None:
    await api.apply(resource(team={"team_id": "field", "display_name": "Out"}), actor="ana")
    page = await api.config.ListChanges(config_service_pb2.ListChangesRequest(kind=KIND.CONFIG_KIND_TEAM))
    latest, first = page.changes
    assert (latest.actor, latest.before.team.display_name, latest.after.team.display_name) == ("ana", "", "Out")
    assert not first.HasField("before")


async def test_the_history_pages_backwards(api: Api) -> None:
    page = await api.config.ListChanges(config_service_pb2.ListChangesRequest(page_size=4))
    rest = await api.config.ListChanges(config_service_pb2.ListChangesRequest(page_size=100, page_token=page.next_page_token))
    ids = [c.change_id for c in [*page.changes, *rest.changes]]
    assert ids == list(range(11, 0, -1))


async def test_a_resource_that_nobody_needs_is_deleted(api: Api) -> None:
    assert (await delete(api, "TEAM", "field")).config_version == 2
    assert (await refusal(get(api, "TEAM", "field"))).code == "NOT_FOUND"


@pytest.mark.parametrize(
    ("kind", "name", "referrers"), [("SEQUENCE", "welcome", "segment big"), ("RECORD_TYPE", "account", "record_type lead, sequence visit")]
)
async def test_a_resource_that_others_refer_to_stays(api: Api, kind: str, name: str, referrers: str) -> None:
    found = await refusal(delete(api, kind, name))
    assert (found.code, found.reason, found.metadata) == ("FAILED_PRECONDITION", "STILL_REFERENCED", {"referrers": referrers})


async def test_the_settings_are_not_deleted(api: Api) -> None:
    assert (await refusal(delete(api, "SETTINGS", "settings"))).code == "INVALID_ARGUMENT"


async def test_deleting_what_is_not_there_is_not_found(api: Api) -> None:
    assert (await refusal(delete(api, "TEAM", "none"))).reason == "CONFIG_NOT_FOUND"


async def test_a_record_type_with_records_stays(api: Api) -> None:
    await api.apply(resource(record_type={"record_type": "visit"}))
    await api.upsert(a_row(record_type="visit"))
    assert (await refusal(delete(api, "RECORD_TYPE", "visit"))).metadata == {"referrers": "1 records of this type"}


async def test_a_queue_that_owns_records_stays(api: Api) -> None:
    await api.upsert(a_row(owner=value_pb2.Owner(queue_id="inbox")))
    found = await refusal(api.apply(resource(queue={"queue_id": "other"}), prune=True))
    assert (found.code, found.metadata) == ("FAILED_PRECONDITION", {"referrers": "1 records it owns"})


async def test_a_team_with_sellers_stays(api: Api) -> None:
    await api.hire(a_seller_row(team_ids=["field"]))
    assert (await refusal(delete(api, "TEAM", "field"))).reason == "STILL_REFERENCED"


async def check(api: Api, text: str, purpose: str = "RECORD") -> config_service_pb2.CheckConditionResponse:
    number = config_service_pb2.ConditionPurpose.Value(f"CONDITION_PURPOSE_{purpose}")
    return await api.config.CheckCondition(config_service_pb2.CheckConditionRequest(record_type="lead", condition=text, purpose=number))


async def test_a_condition_that_can_be_saved_says_what_it_reads(api: Api) -> None:
    found = await check(api, 'record.country == "DE" && record.revenue > 5.0')
    assert found.valid
    assert list(found.reads) == ["record.country", "record.revenue"]


async def test_a_condition_on_sellers_may_read_skills(api: Api) -> None:
    assert list((await check(api, "seller.skills.big >= 5", "SELLER")).reads) == ["seller.skills.big"]
    assert not (await check(api, "seller.skills.big >= 5")).valid


async def test_a_condition_that_cannot_be_saved_says_where(api: Api) -> None:
    found = await check(api, "record.country == 5")
    assert (found.valid, found.line, found.column) == (False, 1, 16)
    assert found.error


async def simulate(api: Api, segment: config_pb2.ConfigResource, **parts: int) -> config_service_pb2.SimulateSegmentResponse:
    return await api.config.SimulateSegment(config_service_pb2.SimulateSegmentRequest(segment=segment.segment, **parts))


async def test_a_simulated_segment_counts_what_it_would_take(api: Api) -> None:
    rows = [a_row(f"r{i}", {"revenue": 400_000.0 * i, "country": "DE"}) for i in range(6)]
    await api.upsert(*rows, a_row("closed", {"revenue": 9e9}, active=False))
    found = await simulate(api, resource(segment=a_segment("new", 2, condition="record.revenue >= 800000.0")), sample_size=1)
    # r3, r4 and r5 go to the segment before.
    assert (found.considered, found.matching, found.segmented) == (6, 4, 1)
    assert [r.record_id for r in found.sample] == ["r2"]
    assert {(f.from_segment_id, f.to_segment_id): f.records for f in found.flows} == {("", "big"): 3, ("", "new"): 1, ("", "rest"): 2}


async def test_a_segment_that_could_not_be_saved_is_not_simulated(api: Api) -> None:
    found = await refusal(simulate(api, resource(segment=a_segment("new", 2, condition="record.nothing > 1"))))
    assert found.fields == ("segment.condition",)


async def preview(api: Api, **parts: object) -> config_service_pb2.PreviewScheduleResponse:
    schedule = resource(schedule={"schedule_id": "s", **parts}).schedule
    return await api.config.PreviewSchedule(config_service_pb2.PreviewScheduleRequest(schedule=schedule, count=2))


async def test_a_schedule_shows_its_next_firings_in_its_own_time(api: Api) -> None:
    found = await preview(api, cron="30 2 * * *", time_zone="Europe/Berlin")
    assert [f.ToJsonString() for f in found.firings] == ["2026-03-03T01:30:00Z", "2026-03-04T01:30:00Z"]
    assert found.local_firings[0] == "Tue 2026-03-03 02:30 CET"


async def test_a_schedule_that_never_fires_is_no_preview(api: Api) -> None:
    assert (await refusal(preview(api, cron="0 0 31 2 *"))).fields == ("schedule.cron",)


async def test_a_change_of_what_decides_asks_for_a_rerun_if_somebody_waits(api: Api) -> None:
    assert api.reruns() == set()
    await api.upsert(a_row())
    await api.apply(resource(segment=a_segment("other", 7, condition='record.country == "DE"')))
    assert api.reruns() == {"CONFIGURATION_CHANGED"}


async def test_a_workspace_may_do_without_reruns(api: Api) -> None:
    await api.upsert(a_row())
    quiet = (await get(api, "SETTINGS", "settings")).settings
    quiet.rerun_on.SetInParent()
    await api.apply(config_pb2.ConfigResource(settings=quiet))
    assert api.reruns() == set()


async def test_owners_and_capacity_may_name_only_what_exists(api: Api) -> None:
    found = await refusal(api.upsert(a_row(owner=seller_owner("nobody"))))
    assert found.reason == "UNKNOWN_REFERENCE"
    row = a_seller_row(capacity=seller_pb2.Capacity(by_segment={"none": 5}))
    assert (await refusal(api.hire(row))).reason == "UNKNOWN_REFERENCE"
