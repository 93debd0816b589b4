"""Every kind of configuration that reads a field is found and named when a schema drops it, and taken out of use only by force."""

from typing import Any

import pytest

from reallot.clients import ReallotError
from reallot.clients.bundle import parse_bundle
from reallot.v1 import segment_pb2

from world import Make, World, a_rule, a_segment, lead_type, quiet_settings

SELLER_ATTRIBUTE = {"field_id": "region", "type": "FIELD_TYPE_TEXT"}


def of_rule(**parts: Any) -> dict[str, Any]:
    return {"segments": [a_segment("rest", a_rule("plain"), a_rule("reads", **parts))]}


def of_sequence(*steps: dict[str, Any], **parts: Any) -> dict[str, Any]:
    made = [{"step_id": f"s{n}", **step} for n, step in enumerate((*steps, {"call": {"subject": "x"}}))]
    return {"sequences": [{"sequence_id": "q", "record_type": "lead", "steps": made, **parts}]}


def of_trigger(**parts: Any) -> dict[str, Any]:
    return {"triggers": [{"trigger_id": "t", "record_type": "lead", "fields": ["kind"], **parts}]}


MATCHING = {"matching": "seller.region == record.stage"}
READERS = {
    # What reads the field `stage` of leads -> where the refusal says so.
    "segment": ({"segments": [a_segment("s", condition='record.stage == "x"', priority=1)]}, "segment s.condition"),
    "rule": (of_rule(condition='record.stage == "x"'), "segment rest.rules[1].condition"),
    "target": (of_rule(target=MATCHING), "segment rest.rules[1].target.matching"),
    "relaxation": (
        of_rule(
            target={"matching": 'record.stage == "x" && seller.region == "y"'}, relax=[{"after": "60s", "drop": 'record.stage == "x"'}]
        ),
        "segment rest.rules[1].target.matching",
    ),
    "preferred": (of_rule(preferred="seller.region == record.stage"), "segment rest.rules[1].preferred"),
    "conflict": (of_rule(exclusions={"conflict": "seller.region == record.stage"}), "segment rest.rules[1].exclusions.conflict"),
    "score": (of_rule(score='record.stage == "x" ? 1 : 0'), "segment rest.rules[1].score"),
    "release": (of_rule(release_when='record.stage == "x"'), "segment rest.rules[1].release_when"),
    "sticky": (of_rule(sticky={"by": "stage"}), "segment rest.rules[1].sticky.by"),
    "team": (of_rule(target={"team": {"matching": "team.area == record.stage"}}), "segment rest.rules[1].target.team.matching"),
    "trigger": (of_trigger(fields=["kind", "stage"]), "trigger t.fields[1]"),
    "trigger's condition": (of_trigger(condition='record.stage == "x"'), "trigger t.condition"),
    "fork": (of_sequence({"condition": {"condition": 'record.stage == "x"'}}), "sequence q.steps[0].condition.condition"),
    "update": (of_sequence({"update_field": {"field_id": "stage", "value": {"text": "x"}}}), "sequence q.steps[0].update_field.field_id"),
    "exit": (of_sequence(exit_when=['record.stage == "x"']), "sequence q.exit_when[0]"),
    "schedule": (
        {"schedules": [{"schedule_id": "d", "cron": "0 6 * * *", "selection": {"record_type": "lead", "filter": 'record.stage == "x"'}}]},
        "schedule d.selection.filter",
    ),
    "another type": (
        {
            "record_types": [{"record_type": "deal", "references": [{"role": "lead", "record_type": "lead"}]}],
            "segments": [a_segment("deals", record_type="deal", condition='lead.stage == "x"', priority=1)],
        },
        "segment deals.condition",
    ),
}


def without(field: str) -> dict[str, Any]:
    return lead_type() | {"fields": [f for f in lead_type()["fields"] if f["field_id"] != field]}


@pytest.mark.parametrize("name", READERS)
def test_a_field_that_something_reads_goes_only_by_force(world: Make, name: str) -> None:
    bundle, place = READERS[name]
    w: World = world()
    settings = quiet_settings(seller_fields=[SELLER_ATTRIBUTE], team_fields=[{"field_id": "area", "type": "FIELD_TYPE_TEXT"}])
    w.apply(settings=settings, record_types=[lead_type()], segments=[a_segment("rest", a_rule("plain"))])
    w.apply(**bundle)
    bare, _ = parse_bundle({"record_types": [without("stage")]})
    with pytest.raises(ReallotError) as caught:
        w.client.config.apply(bare)
    assert place in [v.field for v in caught.value.violations], [str(v) for v in caught.value.violations]
    kind, reader = place.split(".")[0].split()
    w.client.config.apply(bare, force=True)
    of_kind = [getattr(r, kind) for r in w.client.config.export() if r.WhichOneof("resource") == kind]
    found = next(message for message in of_kind if getattr(message, f"{kind}_id") == reader)
    states = [found.state, *(rule.state for rule in getattr(found, "rules", ()))]
    assert segment_pb2.RESOURCE_STATE_INACTIVE in states
    # What reads something else goes on.
    assert kind != "segment" or reader != "rest" or states[:2] == [0, 0]
