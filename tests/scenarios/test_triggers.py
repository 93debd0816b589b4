"""Which changes make a record be looked at again, which do not, and what its log says of both."""

from typing import Any

import pytest

from reallot.clients import Record, Seller
from reallot.clients.errors import ReallotError
from reallot.clients.values import moment, timestamp
from reallot.v1 import insight_service_pb2, record_service_pb2

from world import Make, World, a_lead, a_rule, a_segment, at, kinds, lead_type, quiet_settings


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


def flipping(world: Make, **trigger: Any) -> World:
    """A lead that goes to and fro as its revenue changes."""
    here = world("2026-03-05T10:00")
    moves = {"accepts_moves": True}
    here.apply(
        settings=quiet_settings(),
        record_types=[lead_type()],
        segments=[
            a_segment("big", condition="record.revenue >= 10.0", priority=1, on_no_match="ON_NO_MATCH_DEFAULT_SEGMENT", **moves),
            a_segment("small", **moves),
        ],
        triggers=[{"trigger_id": "flip", "record_type": "lead", "fields": ["revenue"], **trigger}],
    )
    here.write(a_lead("l", revenue=1.0), a_lead("still", revenue=1.0))
    return here


def flip(here: World, minute: int, revenue: float) -> tuple[str, list[str]]:
    here.jump(f"2026-03-05T10:{minute:02}")
    names = fired(here, revenue=revenue)
    return here.record("l").segment_id, names


def test_a_record_that_goes_to_and_fro_is_reported(world: Make) -> None:
    here = flipping(world)
    assert [flip(here, minute, revenue)[0] for minute, revenue in ((1, 50.0), (2, 1.0), (3, 60.0))] == ["big", "small", "big"]
    assert log(here, "l")[-1].endswith("; it is back in big, which it had left for small")
    here.write(a_lead("still", revenue=70.0))
    answer = here.client.stubs.insight.GetReport(insight_service_pb2.GetReportRequest())
    assert answer.bouncing_records == 1
    (row,) = answer.bouncing
    assert (row.record_id, row.moves, row.returns, row.segment_ids, row.fields) == ("l", 3, 2, ["small", "big"], ["revenue"])
    assert moment(row.last_time) == at("2026-03-05T10:03")
    later = insight_service_pb2.GetReportRequest(start_time=timestamp(at("2026-03-05T10:03")))
    assert here.client.stubs.insight.GetReport(later).bouncing_records == 0


def test_a_cool_down_keeps_it_still_and_looks_again_when_it_is_over(world: Make) -> None:
    here = flipping(world, cool_down="3600s")
    assert flip(here, 1, 50.0) == ("big", ["flip", "implied:revenue"])
    last = here.events()[-1].number
    assert [flip(here, minute, revenue) for minute, revenue in ((2, 1.0), (3, 60.0), (4, 2.0))] == [("big", [])] * 3
    assert log(here, "l")[-1] == "not looked at again yet: the trigger flip rests for this record"
    here.advance("2026-03-05T11:00")
    assert here.record("l").segment_id == "big"
    here.advance("2026-03-05T11:01")
    assert here.record("l").segment_id == "small"
    assert kinds([e for e in here.events(record_ids=["l"]) if e.number > last]) == ["CHANGED"] * 3 + ["RESEGMENTED"]


def test_what_only_rules_read_is_noticed_while_a_record_waits(world: Make) -> None:
    here = world("2026-03-05T10:00")
    account = {"record_type": "account", "fields": [{"field_id": "kind", "type": "FIELD_TYPE_TEXT"}]}
    lead = {"record_type": "lead", "fields": [{"field_id": "seen", "type": "FIELD_TYPE_TIMESTAMP"}]}
    rules = [a_rule("old", condition='record.seen <= now - duration("2d")'), a_rule("known", condition="present(account)")]
    here.apply(
        settings=quiet_settings(),
        record_types=[account, lead | {"references": [{"role": "account", "record_type": "account"}]}],
        segments=[a_segment("all", *rules)],
    )
    here.sellers(Seller("ana"))
    here.write(Record("a", "account"), *(Record(i, "lead", {"seen": at("2026-03-05T10:00")}) for i in ("l", "m")))
    assert {here.status(i) for i in ("l", "m")} == {"NO_RULE_MATCHED"}
    here.write(Record("l", "lead", related={"account": "a"}))
    assert (here.owner("l"), here.record("l").assignment.rule_id) == ("ana", "all/known")
    here.advance("2026-03-07T09:59")
    assert here.owner("m") == ""
    here.advance("2026-03-07T10:00")
    assert (here.owner("m"), here.record("m").assignment.rule_id) == ("ana", "all/old")


UNFIRED = {
    # The trigger, the change -> what the log says.
    "other segments": ({"segment_ids": ["big"]}, {"stage": "won"}, "the trigger staged does not fire: it is for records in big"),
    "from": (
        {"from": [{"text": "open"}]},
        {"stage": "won"},
        "the trigger staged does not fire: it waits for another change of stage",
    ),
    "to": ({"to": [{"text": "won"}]}, {"stage": "open"}, "the trigger staged does not fire: it waits for another change of stage"),
    "condition": (
        {"condition": "record.revenue > 5.0"},
        {"stage": "won"},
        "the trigger staged does not fire: its condition does not hold",
    ),
    "rules": ({}, {"kind": "hot"}, "not looked at again: only rules read kind, and the record has an owner"),
}


@pytest.mark.parametrize("name", UNFIRED)
def test_the_log_says_why_what_looks_at_a_field_does_not_fire(world: Make, name: str) -> None:
    trigger, change, said = UNFIRED[name]
    here = watched(world(), **trigger)
    here.apply(segments=[a_segment("rest", a_rule("warm", condition='record.kind != "cold"'), a_rule("all"))])
    here.give("ana", "l")
    assert (fired(here, **change), log(here, "l")[-1]) == ([], said)


def test_a_workspace_wide_cool_down_rests_a_record_after_any_look(world: Make) -> None:
    here = flipping(world)
    here.apply(settings=quiet_settings(cool_down="3600s"))
    assert flip(here, 1, 50.0) == ("big", ["flip", "implied:revenue"])
    last = here.events()[-1].number
    assert [flip(here, minute, revenue) for minute, revenue in ((2, 1.0), (3, 60.0), (4, 2.0))] == [("big", [])] * 3
    rests = "not looked at again yet: the record was looked at lately and rests, also for "
    assert log(here, "l")[-1] == f"{rests}flip, implied:revenue"
    # A trigger with a cool-down of its own goes by that, and so does a record that was not looked at yet.
    here.apply(triggers=[{"trigger_id": "staged", "record_type": "lead", "fields": ["stage"], "cool_down": "60s"}])
    assert fired(here, stage="won") == ["staged"]
    assert here.record("l").segment_id == "small"
    assert [here.write(a_lead("still", revenue=revenue))[0].fired for revenue in (70.0, 1.0)] == [["flip", "implied:revenue"], []]
    here.advance("2026-03-05T11:03")
    assert here.record("still").segment_id == "big"
    here.advance("2026-03-05T11:04")
    assert here.record("still").segment_id == "small"
    told = kinds([e for e in here.events(record_ids=["l"]) if e.number > last])
    # When the rest of l is over, nothing has changed since the last look.
    assert told == ["CHANGED"] * 4 + ["RESEGMENTED", "NOT_ASSIGNED"]


def test_a_cool_down_holds_back_what_changes_on_the_account_too(world: Make) -> None:
    here = world("2026-03-05T10:00")
    account = {"record_type": "account", "fields": [{"field_id": "size", "type": "FIELD_TYPE_INTEGER"}]}
    lead = lead_type() | {"references": [{"role": "account", "record_type": "account"}]}
    big = a_segment("big", condition="account.size > 5", priority=1, accepts_moves=True, on_no_match="ON_NO_MATCH_DEFAULT_SEGMENT")
    segments = [big, a_segment("rest", accepts_moves=True)]
    here.apply(settings=quiet_settings(cool_down="3600s"), record_types=[account, lead], segments=segments)
    here.write(Record("a", "account", {"size": 1}), Record("l", "lead", related={"account": "a"}))
    segments_seen = []
    for minute, size in ((1, 9), (2, 1), (3, 8), (4, 2)):
        here.jump(f"2026-03-05T10:0{minute}")
        here.write(Record("a", "account", {"size": size}))
        segments_seen.append(here.record("l").segment_id)
    assert segments_seen == ["big"] * 4
    assert log(here, "l")[-1] == "not looked at again yet: the record was looked at lately and rests, also for account.size"
    here.advance("2026-03-05T11:01")
    assert here.record("l").segment_id == "rest"
    for settings in ({"cool_down": "0s"}, {"cool_down": "3600000s", "retention": {"decisions_days": 1}}):
        with pytest.raises(ReallotError, match="cool_down"):
            here.apply(settings=quiet_settings(**settings))


def test_whom_a_rule_may_give_to_is_looked_at_again_when_the_clock_changes_it(world: Make) -> None:
    here = world("2026-03-05T10:00")
    lead = {"record_type": "lead", "fields": [{"field_id": "from", "type": "FIELD_TYPE_TIMESTAMP"}]}
    fields = {"seller_fields": [{"field_id": "starts", "type": "FIELD_TYPE_TIMESTAMP"}]}
    queue = {"queue_fields": [{"field_id": "opens", "type": "FIELD_TYPE_TIMESTAMP"}]}
    rules = [
        a_rule("ready", target={"matching": "seller.starts <= now && record.from <= now"}),
        a_rule("queue", condition="empty(record.from)", target={"queue": {"matching": "queue.opens < now"}}),
    ]
    late = {"queue_id": "late", "attributes": {"opens": {"timestamp": "2026-03-08T10:00:00Z"}}}
    here.apply(settings=quiet_settings(**fields, **queue), record_types=[lead], queues=[late], segments=[a_segment("all", *rules)])
    here.sellers(Seller("ana", attributes={"starts": at("2026-03-06T10:00")}), Seller("ben", attributes={"starts": at("2026-03-07T10:00")}))
    here.write(
        *(Record(i, "lead", {"from": at(t)}) for i, t in (("l", "2026-03-05T09:00"), ("m", "2026-03-07T09:00"))), Record("q", "lead")
    )
    seen = []
    for instant in ("2026-03-06T09:59", "2026-03-06T10:00", "2026-03-07T08:59", "2026-03-07T09:00", "2026-03-08T10:00", "2026-03-08T10:01"):
        here.advance(instant)
        seen.append(here.owners("l", "m", "q"))
    assert seen == [["", "", ""], ["ana", "", ""], ["ana", "", ""], ["ana", "ana", ""], ["ana", "ana", ""], ["ana", "ana", "queue:late"]]


def test_fifty_changes_in_a_burst_are_looked_at_on_their_last_state(world: Make) -> None:
    here = flipping(world)
    last = here.events()[-1].number
    # In one request, and in many while nothing is worked at.
    here.write(*(a_lead("l", revenue=float(1 + n % 2 * 98)) for n in range(50)))
    assert here.record("l").segment_id == "big"
    here.apply(settings=quiet_settings(paused=True))
    for n in range(50):
        here.client.records.upsert([a_lead("still", revenue=float(1 + n % 2 * 98), stage=str(n))])
    here.apply(settings=quiet_settings())
    here.settle()
    assert here.record("still").segment_id == "big"
    told = {i: kinds([e for e in here.events(record_ids=[i]) if e.number > last]) for i in ("l", "still")}
    assert told == {"l": ["CHANGED", "RESEGMENTED"], "still": ["CHANGED"] * 50 + ["RESEGMENTED"]}
    request = record_service_pb2.ListDecisionsRequest(record_id="still")
    assert len([d for d in here.client.stubs.records.ListDecisions(request).decisions if d.run_id]) == 2


@pytest.mark.parametrize("cool_down", ["0s", "7776001s"])
def test_a_cool_down_that_the_log_cannot_tell_is_refused(world: Make, cool_down: str) -> None:
    with pytest.raises(ReallotError, match="cool_down"):
        watched(world(), cool_down=cool_down)
