"""Teams and queues: which of them a rule gives to, what they own, who hears of it, and what cannot be."""

from collections import Counter
from typing import Any

import pytest

from reallot.clients import ReallotError, Record, Seller
from reallot.clients.values import owner_text, to_owner
from reallot.v1 import (
    assignment_service_pb2,
    config_pb2,
    config_service_pb2,
    event_pb2,
    insight_service_pb2,
    record_service_pb2,
    run_pb2,
    seller_service_pb2,
)

from world import Make, World, a_lead, a_rule, a_segment, kinds, lead_type, quiet_settings

REGION = [{"field_id": "region", "type": "FIELD_TYPE_TEXT"}, {"field_id": "size", "type": "FIELD_TYPE_INTEGER"}]
GROUPS = {
    "teams": [
        {"team_id": "north", "display_name": "North", "attributes": {"region": {"text": "n"}, "size": {"integer": "4"}}},
        {"team_id": "south", "attributes": {"region": {"text": "s"}}},
        {"team_id": "south2", "attributes": {"region": {"text": "s"}}},
        {"team_id": "asleep", "attributes": {"region": {"text": "a"}}, "state": "RESOURCE_STATE_PAUSED"},
    ],
    "queues": [{"queue_id": "desk", "attributes": {"region": {"text": "n"}}}, {"queue_id": "shut", "state": "RESOURCE_STATE_INACTIVE"}],
}
MATCHING = {"matching": "team.region == record.kind"}
ANY = {"several": "SEVERAL_MATCHES_ANY_AT_RANDOM"}


def house(world: World, *rules: dict[str, Any], **parts: Any) -> World:
    """Ann is in the teams north and south, Ben in south; Cid in none."""
    settings = quiet_settings(team_fields=REGION, queue_fields=REGION[:1])
    world.apply(settings=settings, record_types=[lead_type()], segments=[a_segment("leads", *rules, **parts)], **GROUPS)
    world.sellers(Seller("ann", team_ids=["north", "south"]), Seller("ben", team_ids=["south"]), Seller("cid"))
    return world


def to_team(rule_id: str = "team", **target: Any) -> dict[str, Any]:
    return {"rule_id": rule_id, "target": {"team": target}}


def to_queue(rule_id: str = "queue", **target: Any) -> dict[str, Any]:
    return {"rule_id": rule_id, "target": {"queue": target}}


def give(world: World, owner: str, *record_ids: str) -> list[Any]:
    request = assignment_service_pb2.AssignRecordsRequest(record_ids=record_ids, owner=to_owner(owner))
    results = list(world.client.stubs.assignment.AssignRecords(request).results)
    world.settle()
    return results


OUTCOMES = {
    # Rule's target, kind of the lead -> owner and status.
    "listed team": (to_team(team_ids=["north"]), "n", "team:north", "ASSIGNED"),
    "listed queue": (to_queue(queue_ids=["desk"]), "n", "queue:desk", "ASSIGNED"),
    "matching team": (to_team(**MATCHING), "n", "team:north", "ASSIGNED"),
    "matching queue": (to_queue(matching="queue.region == record.kind"), "n", "queue:desk", "ASSIGNED"),
    "by id and number": (to_team(matching='team.team_id == "north" && team.size > 3'), "", "team:north", "ASSIGNED"),
    "several, none chosen": (to_team(**MATCHING), "s", "", "SEVERAL_TEAMS"),
    "several listed": (to_team(team_ids=["north", "south"]), "n", "", "SEVERAL_TEAMS"),
    "no team": (to_team(**MATCHING), "x", "", "NO_TEAM"),
    "no value": (to_team(**MATCHING), None, "", "NO_TEAM"),
    "only one that is not active": (to_team(**MATCHING), "a", "", "NO_TEAM"),
    "no queue": (to_queue(matching="queue.region == record.kind"), "s", "", "NO_QUEUE"),
    "listed one that is not active": (to_queue(queue_ids=["shut"]), "n", "", "NO_QUEUE"),
}


def test_a_rule_gives_to_the_team_or_queue_that_fits(world: Make) -> None:
    here = world()
    segments = [
        a_segment(f"s{n}", OUTCOMES[name][0], condition=f'record.company == "{name}"', priority=n) for n, name in enumerate(OUTCOMES, 1)
    ]
    settings = quiet_settings(team_fields=REGION, queue_fields=REGION[:1])
    here.apply(settings=settings, record_types=[lead_type()], segments=segments, **GROUPS)
    here.write(*(a_lead(f"l{n}", company=name, kind=OUTCOMES[name][1]) for n, name in enumerate(OUTCOMES)))
    found = {name: (here.owner(f"l{n}"), here.status(f"l{n}")) for n, name in enumerate(OUTCOMES)}
    assert found == {name: outcome[2:] for name, outcome in OUTCOMES.items()}


def test_of_several_one_is_drawn_the_same_for_the_same_seed(world: Make) -> None:
    here = house(world(), to_team(**MATCHING, **ANY), on_arrival="ON_ARRIVAL_WAIT")
    names = [f"l{n:02d}" for n in range(40)]
    here.write(*(a_lead(name, kind="s") for name in names))
    drawn = []
    for seed in (1, 1, 2):
        here.run(seed=seed)
        drawn.append(here.owners(*names))
        here.release(*names)
    assert drawn[0] == drawn[1] != drawn[2]
    counts = Counter(drawn[0])
    assert set(counts) == {"team:south", "team:south2"}
    assert min(counts.values()) >= 10


def test_records_fall_through_from_rule_to_rule_over_sellers_teams_and_queues(world: Make) -> None:
    rules = (
        a_rule("cid", target={"sellers": {"seller_ids": ["cid"]}}),
        to_team(**MATCHING),
        {**to_queue(queue_ids=["desk"]), "condition": "empty(record.stage)"},
    )
    here = house(world(), *rules)
    here.sellers(Seller("cid", capacity=2))
    here.write(*(a_lead(name, kind=kind) for name, kind in (("a", "n"), ("b", "n"), ("c", "n"), ("d", "s"), ("e", "x"))))
    # Whom only a later rule would take goes first: the ranks of the rules add up to the least so.
    assert here.owners("a", "b", "c", "d", "e") == ["team:north", "team:north", "team:north", "cid", "cid"]
    here.write(a_lead("f", kind="n"), a_lead("g", kind="s"), a_lead("h", kind="s", stage="stop"), a_lead("i", kind="x", stage="stop"))
    assert here.owners("f", "g", "h", "i") == ["team:north", "queue:desk", "", ""]
    # Distribution failed before nobody matched: the full seller is what is shown.
    assert [here.status(name) for name in "hi"] == ["NO_CAPACITY", "NO_CAPACITY"]
    assert here.loads() == {"ann": 0, "ben": 0, "cid": 2}


def test_a_stop_at_a_team_rule_keeps_later_rules_from_trying(world: Make) -> None:
    here = house(world(), {**to_team(**MATCHING), "on_no_seller": "ON_NO_SELLER_STOP"}, a_rule("all"))
    here.write(a_lead("a", kind="s"), a_lead("b", kind="n"))
    assert (here.owners("a", "b"), here.status("a")) == (["", "team:north"], "SEVERAL_TEAMS")


def test_members_of_the_team_are_told_and_carry_nothing(world: Make) -> None:
    here = house(world(), to_team(**MATCHING, **ANY))
    here.write(a_lead("a", kind="n", company="Acme"))
    assert kinds(here.events()) == ["CREATED", "ASSIGNED"]
    after = here.events()[-1].after
    assert (owner_text(after.owner), after.rule_id) == ("team:north", "leads/team")
    assert here.events()[-1].sentence.text == "Acme went to team North on arrival."
    assert [kinds([n.event for n in here.notices(s)]) for s in ("ann", "ben", "cid")] == [["ASSIGNED"], [], []]
    assert give(here, "team:south", "a")[0].assigned
    assert [kinds([n.event for n in here.notices(s)]) for s in ("ann", "ben")] == [["ASSIGNED", "REASSIGNED"], ["REASSIGNED"]]
    give(here, "queue:desk", "a")
    give(here, "cid", "a")
    assert kinds([n.event for n in here.notices("ben")]) == ["REASSIGNED", "REASSIGNED"]
    assert kinds([n.event for n in here.notices("cid")]) == ["REASSIGNED"]
    here.release("a")
    assert (here.owner("a"), here.status("a"), owner_text(here.record("a").assignment.previous_owner)) == ("", "WAITING", "cid")
    assert here.loads() == {"ann": 0, "ben": 0, "cid": 0}
    assert kinds(here.events(owner_changed=True)) == ["ASSIGNED", "REASSIGNED", "REASSIGNED", "REASSIGNED", "UNASSIGNED"]


def test_members_get_a_digest_instead_of_many_notices_of_a_run(world: Make) -> None:
    here = house(world(), to_team(team_ids=["south"]), on_arrival="ON_ARRIVAL_WAIT")
    here.write(*(a_lead(f"l{n:02d}") for n in range(30)))
    here.run()
    run = here.runs(run_pb2.RUN_KIND_MANUAL)[-1]
    for seller in ("ann", "ben"):
        (notice,) = here.notices(seller)
        assert (notice.digest.gained, notice.digest.lost, len(notice.digest.record_ids)) == (30, 0, 30)
    # Undone, they are told once more, and once only.
    assert here.client.runs.undo(run.run_id).undone == 30
    here.settle()
    assert here.owner("l00") == ""
    for seller in ("ann", "ben"):
        assert [(n.digest.gained, n.digest.lost) for n in here.notices(seller)] == [(30, 0), (0, 30)]
    assert here.notices("cid") == []


def test_a_team_keeps_what_it_owns_through_closing_and_reopening_and_gives_up_what_moves(world: Make) -> None:
    here = world()
    moving = {"accepts_moves": True, "assign_on_move": True}
    keep = {"owner_policy": "OWNER_POLICY_KEEP_IF_ELIGIBLE"}
    here.apply(
        settings=quiet_settings(team_fields=REGION, queue_fields=REGION[:1]),
        record_types=[lead_type()],
        segments=[
            a_segment("hot", to_queue(queue_ids=["desk"]), condition='record.stage == "hot"', priority=1, **moving),
            a_segment("warm", to_team(**MATCHING, **ANY), condition='record.stage == "warm"', priority=2, **moving, **keep),
            a_segment("rest", to_team(team_ids=["south2"])),
        ],
        **GROUPS,
    )
    here.write(a_lead("a", kind="s"), a_lead("b", kind="n"))
    for active in (False, True):
        here.write(Record("a", "lead", active=active))
        assert here.owner("a") == "team:south2"
    here.write(a_lead("a", stage="warm"), a_lead("b", stage="warm"))
    assert here.owners("a", "b") == ["team:south2", "team:north"]
    assert here.status("a") == "ASSIGNED"
    here.write(a_lead("a", stage="hot"))
    assert here.owner("a") == "queue:desk"
    assert owner_text(here.record("a").assignment.previous_owner) == "team:south2"


def test_owners_are_found_explained_and_offered(world: Make) -> None:
    here = house(world(), a_rule("cid", target={"sellers": {"seller_ids": ["cid"]}}), to_team(**MATCHING), to_queue(queue_ids=["desk"]))
    here.sellers(Seller("cid", capacity=0))
    here.write(a_lead("a", kind="n"), a_lead("b", kind="s"), a_lead("c", kind="x"))
    listed = {
        owner: [
            r.record_id for r in here.client.stubs.records.ListRecords(record_service_pb2.ListRecordsRequest(owner=to_owner(owner))).records
        ]
        for owner in ("team:north", "queue:desk", "cid", "team:south")
    }
    assert listed == {"team:north": ["a"], "queue:desk": ["b", "c"], "cid": [], "team:south": []}
    told = here.client.stubs.insight.ExplainRecord(insight_service_pb2.ExplainRecordRequest(record_id="b"))
    assert told.summary == "b is in the segment leads and belongs to queue desk, chosen by rule leads/queue."
    assert [[owner_text(o) for o in rule.matched] for rule in told.rules] == [[], ["team:south", "team:south2"], ["queue:desk"]]
    assert [[owner_text(o) for o in rule.matched] for rule in told.decisions[0].rules] == [
        [],
        ["team:south", "team:south2"],
        ["queue:desk"],
    ]
    request = assignment_service_pb2.ListEligibleSellersRequest(record_id="a")
    found = here.client.stubs.assignment.ListEligibleSellers(request).candidates
    assert [(owner_text(c.owner), c.rule_id) for c in found] == [("team:north", "leads/team"), ("queue:desk", "leads/queue")]
    request.include_others = True
    found = here.client.stubs.assignment.ListEligibleSellers(request).candidates
    assert [owner_text(c.owner) for c in found][:2] == ["team:north", "queue:desk"]
    assert {c.seller_id: event_pb2.Verdict.Name(c.verdict) for c in found}["cid"] == "VERDICT_NO_CAPACITY"


def test_what_cannot_own_is_refused_by_name(world: Make) -> None:
    here = house(world(), to_team(team_ids=["north"]))
    here.write(a_lead("a"))
    for owner, said in (
        ("team:asleep", "team 'asleep' is not active"),
        ("queue:shut", "queue 'shut' is not active"),
        ("team:nobody", "team 'nobody' does not exist"),
    ):
        with pytest.raises(ReallotError, match=said):
            give(here, owner, "a")
        with pytest.raises(ReallotError, match=rf"records\[0\].record.owner.*{said}"):
            here.write(Record("b", "lead", owner=owner))
        with pytest.raises(ReallotError, match=said):
            here.write(Record("a", "lead", owner=owner, expected_owner="team:north"))
        leaving = seller_service_pb2.RetireSellerRequest(seller_id="cid", successor=to_owner(owner))
        with pytest.raises(ReallotError, match=said):
            here.client.stubs.sellers.RetireSeller(leaving)
    # A CRM that repeats what is stored is not to be told off for it.
    here.apply(teams=[{"team_id": "north", "state": "RESOURCE_STATE_PAUSED"}])
    assert not here.write(Record("a", "lead", {"stage": "x"}, owner="team:north", expected_owner="team:north"))[0].HasField("conflict")
    assert here.owner("a") == "team:north"


def test_a_crm_gives_to_teams_and_takes_away(world: Make) -> None:
    here = house(world(), a_rule("all"))
    here.write(
        Record("a", "lead", {"company": "Acme"}, owner="team:south"), *(Record(f"m{n}", "lead", owner="team:north") for n in range(120))
    )
    assert (here.owner("a"), here.status("a"), here.loads()) == ("team:south", "ASSIGNED_MANUALLY", {"ann": 0, "ben": 0, "cid": 0})
    assert [kinds([n.event for n in here.notices(s)]) for s in ("ben", "cid")] == [["ASSIGNED"], []]
    assert len(here.notices("ann")) == 121
    assert here.notices("ann")[-1].event.sentence.text == "m119 went to team North on arrival."
    here.write(Record("a", "lead", owner="ben", expected_owner="team:south"))
    assert (here.owner("a"), here.loads()["ben"]) == ("ben", 1)
    assert kinds([n.event for n in here.notices("ben")]) == ["ASSIGNED", "REASSIGNED"]


def test_a_group_in_use_cannot_go(world: Make) -> None:
    here = house(world(), to_team(team_ids=["north"]), to_queue(queue_ids=["desk"]))
    here.write(a_lead("a"))
    here.apply(segments=[a_segment("leads", to_queue(queue_ids=["desk"]))])
    for kind, name, said in (
        (config_pb2.CONFIG_KIND_TEAM, "north", "records it owns"),
        (config_pb2.CONFIG_KIND_TEAM, "south", "sellers in it"),
        (config_pb2.CONFIG_KIND_QUEUE, "desk", "segment leads"),
    ):
        with pytest.raises(ReallotError, match=said) as caught:
            here.client.stubs.config.DeleteConfig(config_service_pb2.DeleteConfigRequest(kind=kind, id=name))
        assert caught.value.reason == "STILL_REFERENCED"
    here.client.stubs.config.DeleteConfig(config_service_pb2.DeleteConfigRequest(kind=config_pb2.CONFIG_KIND_TEAM, id="south2"))


def test_a_team_that_changes_has_waiting_records_tried_again(world: Make) -> None:
    here = world()
    here.apply(
        settings={"team_fields": REGION},
        record_types=[lead_type()],
        segments=[a_segment("leads", to_team(**MATCHING))],
        teams=GROUPS["teams"],
    )
    here.write(a_lead("a", kind="w"))
    assert here.status("a") == "NO_TEAM"
    here.apply(teams=[{"team_id": "west", "attributes": {"region": {"text": "w"}}}])
    here.settle()
    assert here.owner("a") == "team:west"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (to_team(), r"target.team.*either list teams or say which match"),
        (to_team(team_ids=["north"], matching="true"), r"target.team.*either list"),
        (to_team(team_ids=["north", "nobody"]), r"team_ids\[1\].*'nobody' does not exist"),
        (to_queue(queue_ids=["desk", "desk"]), r"queue_ids\[1\].*twice"),
        (to_team(matching="team.colour == record.kind"), r"target.team.matching.*team.colour"),
        (to_queue(matching="team.region == record.kind"), r"target.queue.matching"),
        ({**to_team(team_ids=["north"]), "policy": "POLICY_LOAD_BALANCING"}, r"rules\[0\].policy.*gives to teams"),
        ({**to_team(team_ids=["north"]), "available_within": "0s"}, r"rules\[0\].available_within.*about sellers"),
        ({**to_queue(queue_ids=["desk"]), "sticky": {"by": "group_key"}}, r"rules\[0\].sticky.*about sellers"),
    ],
)
def test_targets_that_make_no_sense_are_refused(world: Make, rule: dict[str, Any], said: str) -> None:
    with pytest.raises(ReallotError, match=said):
        house(world(), rule)


def test_attributes_are_held_to_their_declaration(world: Make) -> None:
    here = house(world(), to_team(**MATCHING))
    for team, said in (
        ({"colour": {"text": "red"}}, r"teams?.*attributes.colour.*not declared in the settings' team_fields"),
        ({"region": {"integer": "3"}}, r"attributes.region"),
    ):
        with pytest.raises(ReallotError, match=said):
            here.apply(teams=[{"team_id": "east", "attributes": team}])
    with pytest.raises(ReallotError, match="team north"):
        here.apply(settings=quiet_settings(queue_fields=REGION[:1]))
    checked = here.client.stubs.config.CheckCondition(
        config_service_pb2.CheckConditionRequest(
            record_type="lead", condition="team.size > 3 && team.region == record.kind", purpose=config_service_pb2.CONDITION_PURPOSE_TEAM
        )
    )
    assert (checked.valid, list(checked.reads)) == (True, ["record.kind", "team.region", "team.size"])


def test_by_hand_the_checks_of_the_rules_hold_record_by_record(world: Make) -> None:
    here = house(world(), a_rule("all"), on_arrival="ON_ARRIVAL_WAIT")
    here.sellers(Seller("off", assignable=False), Seller("guest", roles_ok=False), Seller("full", capacity=1))
    here.write(*(a_lead(name) for name in "abcd"), Record("closed", "lead", active=False))

    def given(owner: str, *names: str, **parts: Any) -> list[tuple[str, str]]:
        rows = here.client.records.assign(owner, names, **parts)
        here.settle()
        outcome, verdict = assignment_service_pb2.ManualOutcome.Name, event_pb2.Verdict.Name
        return [(outcome(r.outcome).removeprefix("MANUAL_OUTCOME_"), verdict(r.verdict).removeprefix("VERDICT_")) for r in rows]

    assert given("off", "a", "nothing", "closed") == [
        ("NOT_ELIGIBLE", "SWITCHED_OFF"),
        ("NOT_FOUND", "UNSPECIFIED"),
        ("NOT_ACTIVE", "UNSPECIFIED"),
    ]
    assert given("guest", "a") == [("NOT_ELIGIBLE", "ROLE_NOT_ELIGIBLE")]
    assert given("full", "a", "b") == [("UNSPECIFIED", "UNSPECIFIED"), ("NO_CAPACITY", "NO_CAPACITY")]
    assert (here.owners("a", "b"), here.events(owner_changed=True)[-1].record_id) == (["full", ""], "a")
    for name, owner in (("b", "off"), ("c", "guest"), ("d", "full")):
        assert given(owner, name, force=True) == [("UNSPECIFIED", "UNSPECIFIED")]
    assert here.owners(*"abcd") == ["full", "off", "guest", "full"]
    assert given("off", "b") == [("UNCHANGED", "UNSPECIFIED")]
    assert here.client.records.release(["a", "closed", "nothing"]) == (1, ["nothing"])
