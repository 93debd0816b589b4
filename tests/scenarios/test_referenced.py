"""Conditions on a referenced record: `account.industry`, and whether there is an account at all."""

from typing import Any

import pytest

from reallot.clients import ReallotError, Record, Seller
from reallot.v1 import assignment_service_pb2, config_service_pb2, event_pb2, insight_service_pb2, record_service_pb2

from world import Make, World, a_rule, kinds


def a_type(name: str, *references: str, **fields: str) -> dict[str, Any]:
    declared = [{"field_id": field, "type": f"FIELD_TYPE_{kind}"} for field, kind in fields.items()]
    return {"record_type": name, "fields": declared, "references": [{"role": r, "record_type": r} for r in references]}


def a_segment(segment_id: str, priority: int, condition: str, *rules: Any) -> dict[str, Any]:
    return {
        "segment_id": segment_id,
        "record_type": "lead",
        "priority": priority,
        "condition": condition,
        "accepts_moves": True,
        "on_no_match": "ON_NO_MATCH_RELEASE",
        "rules": list(rules),
    }


def shops(world: Make) -> World:
    w = world()
    w.apply(
        settings={"rerun_on": {}},
        record_types=[a_type("account", industry="TEXT", staff="INTEGER"), a_type("lead", "account", score="INTEGER")],
        segments=[
            a_segment("retail", 1, 'account.industry == "Retail" && record.score > 1', a_rule("large", condition="account.staff > 10")),
            a_segment("elsewhere", 2, "present(account)"),
            a_segment("alone", 3, "empty(account)"),
        ],
    )
    w.sellers(Seller("ann"))
    w.write(Record("shop", "account", {"industry": "Retail", "staff": 20}), Record("bank", "account", {"industry": "Bank"}))
    return w


def segments(w: World, *record_ids: str) -> list[str]:
    return [w.record(record_id).segment_id for record_id in record_ids]


def test_a_lead_is_segmented_by_its_account(world: Make) -> None:
    w = shops(world)
    w.write(
        Record("L1", "lead", {"score": 5}, related={"account": "shop"}),
        Record("L2", "lead", {"score": 5}, related={"account": "bank"}),
        Record("L3", "lead", {"score": 5}),
        # Of another type, and of none: no account.
        Record("L4", "lead", {"score": 5}, related={"account": "L1"}),
        Record("L5", "lead", {"score": 5}, related={"account": "nobody"}),
    )
    assert segments(w, "L1", "L2", "L3", "L4", "L5") == ["retail", "elsewhere", "alone", "alone", "alone"]
    assert w.owners("L1", "L2") == ["ann", ""]


def test_another_account_is_a_change_that_fires(world: Make) -> None:
    w = shops(world)
    w.write(Record("L1", "lead", {"score": 5}, related={"account": "shop"}))
    (answer,) = w.write(Record("L1", "lead", related={"account": "bank"}))
    assert list(answer.fired) == ["implied:account"]
    assert segments(w, "L1") == ["elsewhere"]
    w.write(Record("L1", "lead", related={"account": ""}))
    assert segments(w, "L1") == ["alone"]


def test_filters_simulations_and_explanations_see_the_account(world: Make) -> None:
    w = shops(world)
    w.write(*(Record(f"L{i}", "lead", {"score": i}, related={"account": "shop"}) for i in range(4)), Record("L9", "lead", {"score": 9}))
    listed = w.client.records.list(record_type="lead", filter='account.industry == "Retail" && record.score >= 2')
    assert [record.record_id for record in listed] == ["L2", "L3"]
    w.release("L2", "L3")
    w.run(selection={"record_type": "lead", "filter": 'account.industry == "Retail" && record.score >= 3'})
    assert w.owners("L2", "L3") == ["", "ann"]
    asked = config_service_pb2.SimulateSegmentRequest()
    asked.segment.CopyFrom(next(r.segment for r in w.client.config.export() if r.segment.segment_id == "retail"))
    asked.segment.condition = 'account.industry == "Retail"'
    told = w.client.stubs.config.SimulateSegment(asked)
    assert (told.considered, told.matching, told.segmented) == (5, 4, 4)
    explained = w.client.stubs.insight.ExplainRecord(insight_service_pb2.ExplainRecordRequest(record_id="L3"))
    assert [trace.matches for trace in explained.segments] == [True, True, False]
    candidates = w.client.stubs.assignment.ListEligibleSellers(assignment_service_pb2.ListEligibleSellersRequest(record_id="L3"))
    assert [c.seller_id for c in candidates.candidates] == ["ann"]


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("account", "ask present"),
        ("account == true", "only present"),
        ("!account", "only present"),
        ('account.industri == "Retail"', "account.industri"),
        ('contact.name == "x"', "not declared"),
    ],
)
def test_what_a_reference_is_not_is_refused(world: Make, condition: str, said: str) -> None:
    w = shops(world)
    with pytest.raises(ReallotError, match=said):
        w.apply(segments=[a_segment("new", 9, condition)])


def test_a_field_that_a_condition_of_another_type_reads_cannot_go(world: Make) -> None:
    w = shops(world)
    with pytest.raises(ReallotError, match=r"segment retail\.condition: account\.industry"):
        w.apply(record_types=[a_type("account", staff="INTEGER")])
    with pytest.raises(ReallotError, match=r"segment retail\.rules\[0\]\.condition: account\.staff"):
        w.apply(record_types=[a_type("account", industry="TEXT")])
    with pytest.raises(ReallotError, match=r"segment retail\.condition: record\.score"):
        w.apply(record_types=[a_type("lead", "account")])


def test_the_list_of_records_says_what_is_wrong_with_a_filter(world: Make) -> None:
    w = shops(world)
    request = record_service_pb2.ListRecordsRequest(record_type="lead", filter="account")
    with pytest.raises(ReallotError, match="ask present"):
        w.client.stubs.records.ListRecords(request)


def test_a_change_of_the_account_moves_its_leads_and_says_why(world: Make) -> None:
    w = shops(world)
    w.write(*(Record(i, "lead", {"score": 5}, related={"account": "shop"}) for i in ("L1", "L2")))
    w.write(Record("L3", "lead", {"score": 5}, related={"account": "bank"}))
    w.write(Record("shut", "lead", {"score": 5}, related={"account": "shop"}))
    w.write(Record("shut", "lead", active=False))
    w.write(Record("shop", "account", {"industry": "Bank"}))
    assert segments(w, "L1", "L2", "L3", "shut") == ["elsewhere", "elsewhere", "elsewhere", "retail"]
    (moved,) = [e for e in w.events(record_ids=["L1"]) if kinds([e]) == ["RESEGMENTED"]]
    assert moved.cause.kind == event_pb2.CAUSE_KIND_RELATED
    assert (list(moved.cause.fields), moved.cause.detail) == (["account.industry"], "shop")
    assert "because account.industry changed" in moved.sentence.text
    assert [e for e in w.events(record_ids=["L3"]) if kinds([e]) == ["RESEGMENTED"]] == []


def test_an_account_that_goes_or_comes_reaches_its_leads(world: Make) -> None:
    w = shops(world)
    w.write(Record("L1", "lead", {"score": 5}, related={"account": "shop"}), Record("L2", "lead", {"score": 5}, related={"account": "new"}))
    assert segments(w, "L1", "L2") == ["retail", "alone"]
    w.client.records.delete(["shop"])
    w.settle()
    assert segments(w, "L1", "L2") == ["alone", "alone"]
    w.write(Record("new", "account", {"industry": "Retail", "staff": 20}))
    assert segments(w, "L1", "L2") == ["alone", "retail"]
    w.write(Record("shop", "account", {"industry": "Bank"}))
    assert segments(w, "L1", "L2") == ["elsewhere", "retail"]


def test_only_what_conditions_read_reaches_the_leads_that_refer_to_it_now(world: Make) -> None:
    w = shops(world)
    w.write(*(Record(i, "lead", {"score": 5}, related={"account": "shop"}) for i in ("L1", "L2")))
    w.write(Record("L2", "lead", related={"account": "bank"}))
    before = w.record("L2").etag, w.record("L1").etag
    # Nobody reads the staff of an account whose leads have owners.
    w.write(Record("shop", "account", {"staff": 11}))
    assert (w.record("L2").etag, w.record("L1").etag) == before
    w.write(Record("shop", "account", {"industry": "Bank"}))
    assert w.record("L2").etag == before[0]
    assert segments(w, "L1", "L2") == ["elsewhere", "elsewhere"]


def test_a_lead_that_waits_gets_its_owner_when_the_rule_reads_another_account(world: Make) -> None:
    w = shops(world)
    w.write(Record("small", "account", {"industry": "Retail", "staff": 2}))
    w.write(Record("L1", "lead", {"score": 5}, related={"account": "small"}))
    assert w.owners("L1") == [""]
    w.write(Record("small", "account", {"staff": 200}))
    assert w.owners("L1") == ["ann"]


def test_more_leads_than_one_part_holds_all_move_and_the_last_state_counts(world: Make) -> None:
    w = shops(world)
    w.write(*(Record(f"L{i}", "lead", {"score": 5}, related={"account": "shop"}) for i in range(2_500)), quiet=True)
    w.settle()
    assert len(list(w.client.records.list(record_type="lead", segment_ids=["retail"]))) == 2_500
    for industry in ("Bank", "Farm", "Retail", "Bank"):
        w.client.records.upsert([Record("shop", "account", {"industry": industry})])
    w.settle()
    assert len(list(w.client.records.list(record_type="lead", segment_ids=["elsewhere"]))) == 2_500


def test_a_paused_workspace_passes_on_what_changed_when_it_goes_on(world: Make) -> None:
    w = shops(world)
    w.write(Record("L1", "lead", {"score": 5}, related={"account": "shop"}))
    w.apply(settings={"rerun_on": {}, "paused": True})
    w.write(Record("shop", "account", {"industry": "Bank"}))
    assert segments(w, "L1") == ["retail"]
    w.apply(settings={"rerun_on": {}})
    w.settle()
    assert segments(w, "L1") == ["elsewhere"]


def test_columns_of_new_accounts_reach_the_leads_that_name_them_already(world: Make) -> None:
    w = shops(world)
    w.client.records.load([Record(f"L{i}", "lead", {"score": 5}, related={"account": "late"}) for i in range(3)])
    w.settle()
    assert segments(w, "L0", "L1", "L2") == ["alone"] * 3
    w.client.records.load([Record("late", "account", {"industry": "Retail", "staff": 20})])
    w.settle()
    assert segments(w, "L0", "L1", "L2") == ["retail"] * 3
