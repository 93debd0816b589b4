"""Configuration as an administrator changes it: edits that touch nobody, segments and fields that go, export and apply."""

from typing import Any

import pytest
import yaml

from reallot.clients import ReallotError, Record, Seller
from reallot.clients.bundle import parse_bundle, plain, to_yaml
from reallot.v1 import config_pb2, config_service_pb2, segment_pb2, seller_service_pb2

from world import Make, World, a_lead, a_rule, a_segment, kinds, lead_type, quiet_settings

INACTIVE = "RESOURCE_STATE_INACTIVE"


def to(seller: str, **more: Any) -> dict[str, Any]:
    return a_rule(f"to-{seller}", target={"sellers": {"seller_ids": [seller]}}, **more)


def office(world: World, **big: Any) -> World:
    """Ann works the big leads, Bob the rest."""
    rest = a_segment("rest", to("bob"))
    world.apply(
        settings=quiet_settings(),
        record_types=[lead_type()],
        segments=[a_segment("big", to("ann"), priority=1, condition="record.revenue >= 10.0", **big), rest],
    )
    world.sellers(Seller("ann"), Seller("bob"))
    world.write(a_lead("b", revenue=50.0), a_lead("s", revenue=1.0))
    return world


def delete(world: World, segment: str, **more: Any) -> config_service_pb2.DeleteConfigResponse:
    request = config_service_pb2.DeleteConfigRequest(kind=config_pb2.CONFIG_KIND_SEGMENT, id=segment, **more)
    answer: config_service_pb2.DeleteConfigResponse = world.client.stubs.config.DeleteConfig(request)
    world.settle()
    return answer


def segment(world: World, name: str) -> segment_pb2.Segment:
    request = config_service_pb2.GetConfigRequest(kind=config_pb2.CONFIG_KIND_SEGMENT, id=name)
    found: segment_pb2.Segment = world.client.stubs.config.GetConfig(request).segment
    return found


def refused(world: World, **bundle: Any) -> tuple[str, list[str]]:
    with pytest.raises(ReallotError) as caught:
        world.apply(**bundle)
    return str(caught.value), [violation.field for violation in caught.value.violations]


def test_edits_touch_no_record_until_they_are_looked_at_again(world: Make) -> None:
    w = office(world())
    before, last = [w.record(i) for i in ("b", "s")], w.events()[-1].number
    w.apply(
        segments=[
            a_segment("big", to("bob"), priority=7, condition="record.revenue >= 1.0", accepts_moves=True, assign_on_move=True),
            a_segment("rest", to("ann"), on_arrival="ON_ARRIVAL_WAIT"),
        ]
    )
    w.settle()
    assert [w.record(i) for i in ("b", "s")] == before
    assert w.events()[-1].number == last
    w.run(selection={"record_type": "lead", "resegment": True})
    assert [(w.record(i).segment_id, w.owner(i)) for i in ("b", "s")] == [("big", "ann"), ("big", "bob")]


def test_the_rules_of_a_deleted_segment_go_to_the_default_and_its_records_stay(world: Make) -> None:
    w = office(world())
    w.apply(segments=[a_segment("rest", to("bob"), to("ann", condition="record.revenue > 5.0"))])
    w.sellers(Seller("ann", capacity=1))
    w.write(a_lead("w", revenue=60.0))
    assert (w.record("w").segment_id, w.status("w")) == ("big", "NO_CAPACITY")
    owned, last = w.record("b"), w.events()[-1].number
    tried = delete(w, "big", validate_only=True)
    assert delete(w, "big") == config_service_pb2.DeleteConfigResponse(
        config_version=tried.config_version + 1, changes=tried.changes, records_left=2
    )
    assert [r.rule_id for r in segment(w, "rest").rules] == ["to-bob", "to-ann", "big.to-ann"]
    assert (w.record("b"), w.events()[-1].number) == (owned, last)
    # Who waits is looked at with the next run, whoever is owned when asked for.
    w.run()
    assert (w.record("w").segment_id, w.owner("w"), w.record("b").segment_id) == ("rest", "bob", "big")
    w.run(selection={"record_type": "lead", "resegment": True})
    found = w.record("b")
    assert (found.segment_id, found.segmentation.previous_segment_id, w.owner("b")) == ("rest", "big", "ann")
    assert kinds([e for e in w.events(record_ids=["b"]) if e.number > last]) == ["RESEGMENTED"]


def test_rules_of_a_segment_that_took_no_part_come_paused(world: Make) -> None:
    w = office(world())
    w.apply(segments=[a_segment("big", to("ann"), condition="record.revenue >= 10.0", priority=1, state=INACTIVE)])
    delete(w, "big")
    assert [r.state for r in segment(w, "rest").rules] == [segment_pb2.RESOURCE_STATE_UNSPECIFIED, segment_pb2.RESOURCE_STATE_PAUSED]


def test_a_segment_that_others_refer_to_and_the_default_segment_stay(world: Make) -> None:
    w = office(world())
    with pytest.raises(ReallotError) as caught:
        delete(w, "rest")
    assert caught.value.reason == "DEFAULT_SEGMENT"
    w.apply(
        triggers=[{"trigger_id": "staged", "record_type": "lead", "fields": ["stage"], "segment_ids": ["big"]}],
        schedules=[{"schedule_id": "daily", "cron": "0 6 * * *", "selection": {"segment_ids": ["big"]}}],
    )
    limited = Seller("ann").to_upsert()
    limited.seller.capacity.by_segment["big"] = 3
    w.client.stubs.sellers.UpsertSellers(seller_service_pb2.UpsertSellersRequest(sellers=[limited]))
    with pytest.raises(ReallotError, match="schedule daily, trigger staged, 1 sellers with a maximum for it"):
        delete(w, "big")


def with_accounts(world: World) -> World:
    account = {"record_type": "account", "fields": [{"field_id": "industry", "type": "FIELD_TYPE_TEXT"}]}
    lead = lead_type() | {"references": [{"role": "account", "record_type": "account"}]}
    world.apply(
        settings=quiet_settings(),
        record_types=[account, lead],
        segments=[
            a_segment("retail", condition='account.industry == "Retail"', priority=1),
            a_segment("rest", a_rule("staged", condition='record.stage == "won"'), a_rule("all")),
        ],
        triggers=[{"trigger_id": "staged", "record_type": "lead", "fields": ["stage"]}],
        schedules=[{"schedule_id": "s", "cron": "0 6 * * *", "selection": {"record_type": "lead", "filter": 'record.stage == "won"'}}],
    )
    return world


def without_stage() -> dict[str, Any]:
    lead = lead_type() | {"references": [{"role": "account", "record_type": "account"}]}
    return lead | {"fields": [f for f in lead["fields"] if f["field_id"] != "stage"]}


def test_a_field_that_is_read_goes_only_by_force_and_takes_its_readers_out_of_use(world: Make) -> None:
    w = with_accounts(world())
    bare = {"record_type": "account"}
    told, fields = refused(w, record_types=[without_stage(), bare])
    named = ["schedule s.selection.filter", "segment rest.rules[0].condition", "segment retail.condition", "trigger staged.fields[0]"]
    assert sorted(fields) == named, told
    resources, _ = parse_bundle({"record_types": [without_stage(), bare]})
    answer = w.client.config.apply(resources, force=True)
    changed = {c.id: [(d.path, d.after) for d in c.differences] for c in answer.changes if c.id not in ("lead", "account")}
    state = f'"{INACTIVE}"'
    assert changed == {
        key: [(path, state)] for key, path in {"s": "state", "rest": "rules[0].state", "retail": "state", "staged": "state"}.items()
    }
    # What goes on goes on; what is out of use is held to the schema once it is activated.
    w.sellers(Seller("ann"))
    w.write(Record("l", "lead", {"revenue": 1.0}))
    assert (w.record("l").segment_id, w.owner("l")) == ("rest", "ann")
    _, fields = refused(w, segments=[a_segment("retail", condition='account.industry == "Retail"', priority=1)])
    assert fields == ["resources[0].segment.condition"]
    again = world()
    again.client.config.apply(w.client.config.export())
    assert again.client.config.export() == w.client.config.export()


def test_force_does_not_take_what_the_bundle_itself_gets_wrong(world: Make) -> None:
    w = with_accounts(world())
    rest = a_segment("rest", a_rule("staged", condition='record.stage == "won"'))
    resources, _ = parse_bundle({"record_types": [without_stage()], "segments": [rest]})
    with pytest.raises(ReallotError) as caught:
        w.client.config.apply(resources, force=True)
    assert [v.field for v in caught.value.violations] == ["resources[1].segment.rules[0].condition"]


@pytest.mark.parametrize(
    "bundle",
    [
        {"triggers": [{"trigger_id": "t", "record_type": "lead", "fields": ["stage"], "condition": 'account.industry == "Retail"'}]},
        {"segments": [a_segment("rest", a_rule(release_when='account.industry == "Retail"'))]},
        {"segments": [a_segment("rest", a_rule(target={"matching": "seller.seller_id == account.industry"}))]},
        {"segments": [a_segment("rest", a_rule(policy="BEST_FIT", score='account.industry == "x" ? 1 : 0'))]},
    ],
)
def test_where_references_cannot_be_read_the_refusal_says_where_they_can(world: Make, bundle: dict[str, Any]) -> None:
    w = with_accounts(world())
    with pytest.raises(ReallotError) as caught:
        w.apply(**bundle)
    assert (
        "the reference 'account' can be read in conditions of segments and rules and in filters" in caught.value.violations[0].description
    )


WHOLE = {
    "settings": {
        "rerun_on": {"causes": ["RERUN_CAUSE_CAPACITY_FREED"]},
        "default_capacity": "7",
        "age_by": "AGE_BY_WAITING",
        "digest_above": 3,
        "approve_above_percent": 40,
        "seller_fields": [{"field_id": "country", "type": "FIELD_TYPE_TEXT", "fold_case": True}],
        "retention": {"events_days": 3, "decisions_days": 0},
    },
    "record_types": [
        {"record_type": "account", "display_name": "Account", "fields": [{"field_id": "industry", "type": "FIELD_TYPE_TEXT"}]},
        lead_type() | {"references": [{"role": "account", "record_type": "account"}]},
    ],
    "teams": [{"team_id": "field", "display_name": "Außendienst"}],
    "queues": [{"queue_id": "inbox", "state": "RESOURCE_STATE_PAUSED"}],
    "sequences": [
        {
            "sequence_id": "calls",
            "record_type": "lead",
            "steps": [
                {"step_id": "mail", "email": {"template": "t", "subject": "Hi: you"}},
                {"step_id": "later", "wait": {"duration": "3600s"}},
            ],
        }
    ],
    "segments": [
        a_segment(
            "retail",
            a_rule(
                "best",
                "BEST_FIT",
                condition="record.revenue > 5.0",
                target={"matching": "seller.country == record.kind && seller.skills.big >= 5"},
                relax=[{"after": "60s", "drop": "seller.skills.big >= 5"}],
                score="seller.skills.big * 2",
                preferred='seller.country == "DE"',
                exclusions={"previous_owners": True, "conflict": 'seller.country == "FR"'},
                sticky={"by": "account"},
                available_within="86400s",
                consider_created_within="172800s",
                on_no_seller="ON_NO_SELLER_STOP",
                release_when='record.stage == "lost"',
                use_capacity=False,
            ),
            priority=3,
            condition='account.industry == "Retail" && record.revenue >= 1000.5',
            description="first line\nsecond line",
            accepts_moves=True,
            assign_on_move=True,
            owner_policy="OWNER_POLICY_KEEP_IF_ELIGIBLE",
            on_no_match="ON_NO_MATCH_RELEASE",
            on_arrival="ON_ARRIVAL_WAIT",
            sequence_id="calls",
        ),
        a_segment("rest", a_rule("listed", target={"sellers": {"team_ids": ["field"]}}, state="RESOURCE_STATE_PAUSED")),
    ],
    "triggers": [
        {
            "trigger_id": "won",
            "record_type": "lead",
            "fields": ["stage"],
            "from": [{"text": "new"}],
            "to": [{"text": "yes"}, {"text": "on"}],
        }
        | {"condition": "record.revenue > 1.0", "segment_ids": ["retail"], "cool_down": "90s"}
    ],
    "schedules": [
        {"schedule_id": "every", "every": {"duration": "7200s"}, "jitter": "60s", "overlap": "OVERLAP_POLICY_QUEUE_ONE", "limit": 5},
        {"schedule_id": "days", "days_and_times": {"days": ["MONDAY"], "times": [{"hours": 6}]}, "time_zone": "Europe/Berlin"}
        | {
            "selection": {"record_type": "lead", "segment_ids": ["retail"], "filter": "record.revenue > 2.0"},
            "missed": "MISSED_POLICY_NONE",
        },
    ],
}


def test_what_is_exported_makes_the_same_configuration_elsewhere(world: Make) -> None:
    first, second = world(), world("2026-03-05T15:00")
    first.apply(**WHOLE)
    exported = first.client.config.export()
    assert {resource.WhichOneof("resource") for resource in exported} == set(KIND_NAMES)
    text = to_yaml(exported)
    second.apply(**yaml.safe_load(text))
    assert second.client.config.export() == exported
    assert to_yaml(second.client.config.export()) == text
    # Nothing that the file says is lost on the way; a distance is given the instant from which it counts.
    given, stored = _contents(WHOLE), _contents(yaml.safe_load(text))
    stored["schedule", "every"]["every"].pop("anchor")
    assert stored == given


KIND_NAMES = [name.removeprefix("CONFIG_KIND_").lower() for name, number in config_pb2.ConfigKind.items() if number]


def _contents(bundle: dict[str, Any]) -> dict[tuple[str, Any], dict[str, Any]]:
    """Return what a bundle says, by kind and id, in the form in which it is exported."""
    found = {}
    for resource in parse_bundle(bundle)[0]:
        kind, content = str(resource.WhichOneof("resource")), plain(resource)
        found[kind, content.get(f"{kind}_id") or content.get("record_type")] = content
    return found
