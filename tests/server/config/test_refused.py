"""What a configuration is refused for: every fault is named with its place, and nothing is stored."""

from typing import Any

import pytest

from reallot.v1 import config_pb2, config_service_pb2
from support.api import a_segment, fields_of, refusal, resource
from support.services import Api

CEL = 'record.country == "DE"'
CLOCK = 'now > timestamp("2026-03-01T00:00:00Z")'
STEP = {"step_id": "a", "call": {}}


def a_rule(rule_id: str = "r", **parts: Any) -> dict[str, Any]:
    return {"rule_id": rule_id, **parts}


def with_rule(**parts: Any) -> dict[str, Any]:
    return {"segment": a_segment("new", 5, condition=CEL, rules=[a_rule(**parts)])}


def a_schedule(**parts: Any) -> dict[str, Any]:
    return {"schedule": {"schedule_id": "s", **({} if {"every", "days_and_times"} & set(parts) else {"cron": "0 6 * * *"}), **parts}}


def a_sequence(*steps: dict[str, Any], record_type: str = "lead", **parts: Any) -> dict[str, Any]:
    return {"sequence": {"sequence_id": "q", "record_type": record_type, "steps": steps, **parts}}


def a_fork(**parts: Any) -> dict[str, Any]:
    return {"step_id": "fork", "condition": parts}


def an_advance(sequence_id: str) -> dict[str, Any]:
    return a_sequence({"step_id": "a", "advance": {"sequence_id": sequence_id}})


def an_update(field_id: str, **value: Any) -> dict[str, Any]:
    return a_sequence({"step_id": "a", "update_field": {"field_id": field_id, "value": value}})


def a_trigger(**parts: Any) -> dict[str, Any]:
    return {"trigger": {"trigger_id": "t", "record_type": "lead", "fields": ["hot"], **parts}}


FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "condition does not parse": ({"segment": a_segment("new", 5, condition="record.country ==")}, "segment.condition", "CONDITION_INVALID"),
    "condition compares text with number": (
        {"segment": a_segment("new", 5, condition="record.country > 5")},
        "segment.condition",
        "CONDITION_INVALID",
    ),
    "condition names an unknown field": (
        {"segment": a_segment("new", 5, condition="record.nothing == 1")},
        "segment.condition",
        "CONDITION_INVALID",
    ),
    "condition of a segment reads sellers": (
        {"segment": a_segment("new", 5, condition='seller.country == "DE"')},
        "segment.condition",
        "CONDITION_INVALID",
    ),
    "rule's condition does not parse": (with_rule(condition="("), "segment.rules[0].condition", "CONDITION_INVALID"),
    "target does not parse": (with_rule(target={"matching": "seller.("}), "segment.rules[0].target.matching", "CONDITION_INVALID"),
    "target is empty": (with_rule(target={"matching": ""}), "segment.rules[0].target.matching", "CONDITION_INVALID"),
    "listed nobody": (with_rule(target={"sellers": {}}), "segment.rules[0].target.sellers", "INVALID_FIELD"),
    "unknown team": (
        with_rule(target={"sellers": {"team_ids": ["field", "none"]}}),
        "segment.rules[0].target.sellers.team_ids[1]",
        "UNKNOWN_REFERENCE",
    ),
    "release by the clock": (
        with_rule(release_when='now > timestamp("2026-03-01T00:00:00Z")'),
        "segment.rules[0].release_when",
        "CONDITION_INVALID",
    ),
    "window too wide": (with_rule(available_within="500000s"), "segment.rules[0].available_within", "INVALID_FIELD"),
    "negative window": (with_rule(available_within="-5s"), "segment.rules[0].available_within", "INVALID_FIELD"),
    "offer without time": (with_rule(offer={}), "segment.rules[0].offer.timeout", "INVALID_FIELD"),
    "offer for too long": (with_rule(offer={"timeout": "2592001s"}), "segment.rules[0].offer.timeout", "INVALID_FIELD"),
    "reminder after the end": (
        with_rule(offer={"timeout": "60s", "remind_after_percent": 100}),
        "segment.rules[0].offer.remind_after_percent",
        "INVALID_FIELD",
    ),
    "negative number of offers": (
        with_rule(offer={"timeout": "60s", "out_after": -1}),
        "segment.rules[0].offer.out_after",
        "INVALID_FIELD",
    ),
    "rule without id": (with_rule(rule_id=""), "segment.rules[0].rule_id", "INVALID_ID"),
    "rule twice": (
        {"segment": a_segment("new", 5, condition=CEL, rules=[a_rule(), a_rule()])},
        "segment.rules[1].rule_id",
        "INVALID_ID",
    ),
    "segment of an unknown type": (
        {"segment": a_segment("new", 5, condition=CEL) | {"record_type": "none"}},
        "segment.record_type",
        "UNKNOWN_RECORD_TYPE",
    ),
    "sequence of another type": (
        {"segment": a_segment("new", 5, condition=CEL, sequence_id="visit")},
        "segment.sequence_id",
        "UNKNOWN_REFERENCE",
    ),
    "unknown sequence": ({"segment": a_segment("new", 5, condition=CEL, sequence_id="none")}, "segment.sequence_id", "UNKNOWN_REFERENCE"),
    "priority taken": ({"segment": a_segment("new", 1, condition=CEL)}, "segment.priority", "INVALID_FIELD"),
    "no priority": ({"segment": a_segment("new", 0, condition=CEL)}, "segment.priority", "INVALID_FIELD"),
    "second default": ({"segment": a_segment("other", 0, is_default=True)}, "segment.priority", "INVALID_FIELD"),
    "no condition": ({"segment": a_segment("new", 5)}, "segment.condition", "INVALID_FIELD"),
    "default with a condition": ({"segment": a_segment("rest", 0, is_default=True, condition=CEL)}, "segment.condition", "INVALID_FIELD"),
    "segment id with a blank": ({"segment": a_segment("a b", 5, condition=CEL)}, "segment.segment_id", "INVALID_ID"),
    "segment id too long": ({"segment": a_segment("x" * 101, 5, condition=CEL)}, "segment.segment_id", "INVALID_ID"),
    "empty id": ({"team": {"team_id": ""}}, "team.team_id", "INVALID_ID"),
    "id with a control character": ({"queue": {"queue_id": "a\x07"}}, "queue.queue_id", "INVALID_ID"),
    "record type is no name": ({"record_type": {"record_type": "Big Lead"}}, "record_type.record_type", "INVALID_ID"),
    "field id is a keyword": (
        {"record_type": {"record_type": "x", "fields": fields_of(**{"in": "TEXT"})}},
        "record_type.fields[0].field_id",
        "INVALID_ID",
    ),
    "field without a type": (
        {"record_type": {"record_type": "x", "fields": [{"field_id": "a"}]}},
        "record_type.fields[0].type",
        "INVALID_FIELD",
    ),
    "field twice": (
        {"record_type": {"record_type": "x", "fields": fields_of(a="TEXT") * 2}},
        "record_type.fields[1].field_id",
        "INVALID_FIELD",
    ),
    "unknown title": ({"record_type": {"record_type": "x", "title_field": "a"}}, "record_type.title_field", "UNKNOWN_FIELD"),
    "reference to nowhere": (
        {"record_type": {"record_type": "x", "references": [{"role": "up", "record_type": "none"}]}},
        "record_type.references[0].record_type",
        "UNKNOWN_REFERENCE",
    ),
    "reference called record": (
        {"record_type": {"record_type": "x", "references": [{"role": "record", "record_type": "lead"}]}},
        "record_type.references[0].role",
        "INVALID_ID",
    ),
    "seller field that is there already": (
        {"settings": {"seller_fields": fields_of(country="TEXT", skills="TEXT")}},
        "settings.seller_fields[1].field_id",
        "INVALID_FIELD",
    ),
    "negative capacity": (
        {"settings": {"seller_fields": fields_of(country="TEXT"), "default_capacity": "-1"}},
        "settings.default_capacity",
        "INVALID_FIELD",
    ),
    "trigger without fields": (a_trigger(fields=[]), "trigger.fields", "INVALID_FIELD"),
    "trigger on an unknown field": (a_trigger(fields=["hot", "cold"]), "trigger.fields[1]", "UNKNOWN_FIELD"),
    "trigger on a value of another type": (a_trigger(to=[{"text": "yes"}]), "trigger.to[0]", "WRONG_TYPE"),
    "trigger's condition": (a_trigger(condition="record.country"), "trigger.condition", "CONDITION_INVALID"),
    "trigger for an unknown segment": (a_trigger(segment_ids=["none"]), "trigger.segment_ids[0]", "UNKNOWN_REFERENCE"),
    "sequence without steps": (a_sequence(), "sequence.steps", "INVALID_FIELD"),
    "step without a kind": (a_sequence({"step_id": "a"}), "sequence.steps[0]", "INVALID_FIELD"),
    "step twice": (
        a_sequence({"step_id": "a", "call": {}}, {"step_id": "a", "call": {}}),
        "sequence.steps[1].step_id",
        "INVALID_ID",
    ),
    "no handling time": (with_rule(policy="POLICY_EARLIEST_FIRST_CONTACT"), "segment.rules[0].handling_minutes", "INVALID_FIELD"),
    "handling time of nothing": (with_rule(handling_minutes=5), "segment.rules[0].handling_minutes", "INVALID_FIELD"),
    "wait for no time": (a_sequence({"step_id": "a", "wait": {}}), "sequence.steps[0].wait.duration", "INVALID_FIELD"),
    "exit on an unknown field": (a_sequence(STEP, exit_when=[CEL, "record.no == 1"]), "sequence.exit_when[1]", "CONDITION_INVALID"),
    "exit that reads the clock": (a_sequence(STEP, exit_when=[CLOCK]), "sequence.exit_when[0]", "CONDITION_INVALID"),
    "exit on no outcome": (a_sequence(STEP, exit_on_outcomes=[""]), "sequence.exit_on_outcomes[0]", "INVALID_FIELD"),
    "fork on nothing": (a_sequence(STEP, a_fork()), "sequence.steps[1].condition.condition", "CONDITION_INVALID"),
    "fork to an unknown step": (
        a_sequence(STEP, a_fork(condition=CEL, then_step_id="none")),
        "sequence.steps[1].condition.then_step_id",
        "UNKNOWN_REFERENCE",
    ),
    "fork that waits for the clock": (
        a_sequence(STEP, a_fork(condition=CLOCK, time_limit="60s")),
        "sequence.steps[1].condition.condition",
        "CONDITION_INVALID",
    ),
    "fork that waits for an outcome": (
        a_sequence(STEP, a_fork(outcome="yes", time_limit="60s")),
        "sequence.steps[1].condition.time_limit",
        "INVALID_FIELD",
    ),
    "advance to nothing": (an_advance("none"), "sequence.steps[0].advance.sequence_id", "UNKNOWN_REFERENCE"),
    "advance to itself": (an_advance("q"), "sequence.steps[0].advance.sequence_id", "INVALID_FIELD"),
    "advance to another type": (an_advance("visit"), "sequence.steps[0].advance.sequence_id", "UNKNOWN_REFERENCE"),
    "update of an unknown field": (an_update("none", text="x"), "sequence.steps[0].update_field.field_id", "UNKNOWN_FIELD"),
    "update with another type": (an_update("hot", text="x"), "sequence.steps[0].update_field.value", "WRONG_TYPE"),
    "pause that is overdue": (
        a_sequence({"step_id": "a", "wait": {"duration": "60s"}, "overdue_after": "60s"}),
        "sequence.steps[0].overdue_after",
        "INVALID_FIELD",
    ),
    "impossible day": (a_schedule(cron="0 6 30 2 *"), "schedule.cron", "INVALID_SCHEDULE"),
    "hour that is none": (a_schedule(cron="0 25 * * *"), "schedule.cron", "INVALID_SCHEDULE"),
    "four cron fields": (a_schedule(cron="0 6 * *"), "schedule.cron", "INVALID_SCHEDULE"),
    "unknown time zone": (a_schedule(time_zone="Mars/Olympus"), "schedule.time_zone", "INVALID_SCHEDULE"),
    "no recurrence": ({"schedule": {"schedule_id": "s"}}, "schedule.cron", "INVALID_SCHEDULE"),
    "ends before it starts": (
        a_schedule(start_time="2026-03-02T00:00:00Z", end_time="2026-03-01T00:00:00Z"),
        "schedule.end_time",
        "INVALID_SCHEDULE",
    ),
    "every second": (a_schedule(every={"duration": "1s"}), "schedule.every.duration", "INVALID_SCHEDULE"),
    "parts of a second": (a_schedule(every={"duration": "90.5s"}), "schedule.every.duration", "INVALID_SCHEDULE"),
    "anchor at the end of time": (
        a_schedule(every={"duration": "86400s", "anchor": "9999-12-31T00:00:00Z"}),
        "schedule.every.anchor",
        "INVALID_SCHEDULE",
    ),
    "minute 75": (
        a_schedule(days_and_times={"times": [{"hours": 22, "minutes": 75}]}),
        "schedule.days_and_times.times",
        "INVALID_SCHEDULE",
    ),
    "time with seconds": (
        a_schedule(days_and_times={"times": [{"hours": 6, "seconds": 30}]}),
        "schedule.days_and_times.times",
        "INVALID_SCHEDULE",
    ),
    "jitter of a week": (a_schedule(jitter="604800s"), "schedule.jitter", "INVALID_SCHEDULE"),
    "negative limit": (a_schedule(limit=-1), "schedule.limit", "INVALID_FIELD"),
    "filter that does not parse": (
        a_schedule(selection={"record_type": "lead", "filter": "record.country =="}),
        "schedule.selection.filter",
        "CONDITION_INVALID",
    ),
    "filter without a type": (a_schedule(selection={"filter": CEL}), "schedule.selection.record_type", "UNKNOWN_RECORD_TYPE"),
    "run over an unknown rule": (
        a_schedule(selection={"rule_ids": ["big/none"]}),
        "schedule.selection.rule_ids[0]",
        "UNKNOWN_REFERENCE",
    ),
    "run over a segment of another type": (
        a_schedule(selection={"record_type": "account", "segment_ids": ["big"]}),
        "schedule.selection.segment_ids[0]",
        "UNKNOWN_REFERENCE",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_named_and_nothing_is_stored(api: Api, name: str) -> None:
    document, field, reason = FAULTS[name]
    found = await refusal(api.apply(resource(team={"team_id": "key"}), resource(**document)))
    assert (found.code, found.reason, found.fields) == ("INVALID_ARGUMENT", reason, (f"resources[1].{field}",))
    left = await api.config.Export(config_service_pb2.ExportRequest())
    assert left.config_version == 1
    assert not any(r.team.team_id == "key" for r in left.resources)


async def test_all_faults_of_a_bundle_are_named_in_its_order(api: Api) -> None:
    broken = [resource(team={"team_id": "a b"}), resource(**a_schedule(cron="x")), resource(**with_rule(condition="("))]
    found = await refusal(api.apply(*broken))
    assert found.fields == ("resources[0].team.team_id", "resources[1].schedule.cron", "resources[2].segment.rules[0].condition")


async def test_the_text_of_a_faulty_condition_says_line_and_column(api: Api) -> None:
    document = a_segment("new", 5, condition='record.country == "DE" &&\n  record.nothing == 1')
    assert "line 2, column 9" in (await refusal(api.apply(resource(segment=document)))).text


async def test_a_resource_comes_once(api: Api) -> None:
    found = await refusal(api.apply(resource(team={"team_id": "a"}), resource(team={"team_id": "a"})))
    assert found.fields == ("resources[1].team",)


async def test_an_empty_resource_is_refused(api: Api) -> None:
    assert (await refusal(api.apply(config_pb2.ConfigResource()))).fields == ("resources[0]",)


async def test_a_bundle_over_the_documented_size_is_refused(api: Api) -> None:
    found = await refusal(api.apply(*(resource(team={"team_id": f"t{i}"}) for i in range(5_001))))
    assert (found.code, found.reason) == ("INVALID_ARGUMENT", "BATCH_TOO_LARGE")


async def test_a_number_that_is_no_value_of_its_enum_is_a_fault_of_its_field(api: Api) -> None:
    broken = resource(**with_rule())
    broken.segment.rules[0].policy = 99  # type: ignore[assignment]
    assert (await refusal(api.apply(broken))).fields == ("resources[0].segment.rules[0].policy",)


async def test_an_instant_out_of_range_is_a_fault_of_its_field(api: Api) -> None:
    broken = resource(**a_schedule())
    broken.schedule.start_time.seconds = 10**15
    assert (await refusal(api.apply(broken))).fields == ("resources[0].schedule.start_time",)


@pytest.mark.parametrize("workspace", ["a b", "x" * 101, "\x00"])
async def test_a_workspace_has_an_id(api: Api, workspace: str) -> None:
    found = await refusal(api.apply(resource(team={"team_id": "a"}), workspace=workspace))
    assert (found.code, found.reason, found.fields) == ("INVALID_ARGUMENT", "INVALID_ID", ("workspace",))


@pytest.mark.parametrize("request_id", ["x" * 201, "a\nb", " a"])
async def test_a_request_id_is_an_id(api: Api, request_id: str) -> None:
    found = await refusal(api.apply(resource(team={"team_id": "a"}), request_id=request_id))
    assert (found.reason, found.fields) == ("INVALID_ID", ("request_id",))
