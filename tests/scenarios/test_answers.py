"""Questions about plans: what one more slot is worth, why a record has nobody, and what would be if."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from reallot.clients import ReallotError, Record, Seller
from reallot.v1 import insight_service_pb2, run_pb2, seller_pb2, seller_service_pb2

from world import Make, World, a_lead, a_rule, a_segment, lead_type, quiet_settings


def crowded(world: Make) -> World:
    """Ana is full with one lead of little urgency in another segment; ben has no room in the segment hot."""
    w = world()
    w.apply(
        settings=quiet_settings(),
        record_types=[lead_type()],
        segments=[
            a_segment("hot", a_rule("any"), priority=1, condition='record.kind == "hot"', on_arrival="ON_ARRIVAL_WAIT"),
            a_segment("rest", a_rule("ana", target={"sellers": {"seller_ids": ["ana"]}}), on_arrival="ON_ARRIVAL_WAIT"),
        ],
    )
    a_seller(w, "ana", 1, hot=0)
    a_seller(w, "ben", 5, hot=1)
    return w


def a_seller(w: World, name: str, total: int, **by_segment: int) -> None:
    capacity = seller_pb2.Capacity(total=total, by_segment=by_segment)
    row = seller_service_pb2.SellerUpsert(seller=seller_pb2.Seller(seller_id=name, capacity=capacity))
    w.client.stubs.sellers.UpsertSellers(seller_service_pb2.UpsertSellersRequest(sellers=[row]))
    w.settle()


def a_hot(name: str, priority: int) -> Record:
    return Record(name, "lead", {"kind": "hot"}, priority=priority)


def worth(w: World, **selection: object) -> dict[tuple[str, str, str], dict[str, int]]:
    request = insight_service_pb2.GetWorthRequest(selection=run_pb2.RunSelection(**selection))  # type: ignore[arg-type]
    answer = w.client.stubs.insight.GetWorth(request)
    return {
        (s.seller_id, s.record_type, s.segment_id): {n: c for n, c in zip(answer.level_ids, s.level_changes, strict=True) if c}
        for s in answer.slots
    }


def test_one_more_slot_is_worth_what_a_run_with_it_gains(world: Make) -> None:
    w = crowded(world)
    w.write(a_hot("h1", 80), a_hot("h2", 80), a_hot("h3", 20), Record("r1", "lead", {}, priority=20), Record("r2", "lead", {}, priority=20))
    found = worth(w)
    # Ben's segment is the bottleneck; ana could displace the lesser lead; of her total, one more slot serves another of those.
    assert found == {
        ("ben", "", "hot"): {"coverage:80": -1},
        ("ana", "", "hot"): {"coverage:80": -1, "coverage:20": 1},
        ("ana", "", ""): {"coverage:20": -1},
    }
    told = w.told("worth")[0]
    assert (told["records"], told["waiting"]) == ("5", "3")
    assert "segment hot" in w.call("worth")
    assert worth(w, segment_ids=["rest"]) == {("ana", "", ""): {"coverage:20": -1}}
    before = w.run().counts.assigned
    a_seller(w, "ben", 5, hot=2)
    assert (before, w.run().counts.assigned) == (2, 1)
    assert w.owner("h2") == "ben"


def test_a_full_seller_counts_too_and_other_efforts_are_refused_by_name(world: Make) -> None:
    w = crowded(world)
    w.write(Record("r1", "lead", {}), Record("r2", "lead", {}))
    w.run()
    assert worth(w) == {("ana", "", ""): {"coverage:50": -1}}
    w.write(Record("r3", "lead", {}, effort=2))
    with pytest.raises(ReallotError, match="r3"):
        worth(w)
    with pytest.raises(ReallotError, match=r"selection\.record_type"):
        worth(w, record_type="deal")


def explained(w: World, record_id: str, **more: str) -> insight_service_pb2.ExplainRecordResponse:
    request = insight_service_pb2.ExplainRecordRequest(record_id=record_id, prove=True, **more)  # type: ignore[arg-type]
    answer: insight_service_pb2.ExplainRecordResponse = w.client.stubs.insight.ExplainRecord(request)
    return answer


def kinds(found: insight_service_pb2.Alternative) -> list[str]:
    return [insight_service_pb2.ChangeKind.Name(c.kind).removeprefix("CHANGE_KIND_") for c in found.changes]


def test_a_record_without_an_owner_has_a_proof_that_nobody_can_take_it(world: Make) -> None:
    w = crowded(world)
    w.write(a_hot("h1", 80), a_hot("h2", 80), a_hot("h3", 20), Record("r1", "lead", {}, priority=20))
    found = explained(w, "h3")
    assert found.planned.planned_together == 4
    assert not found.planned.seller_id
    assert (sorted(found.blocking.record_ids), found.blocking.records) == (["h1", "h3"], 2)
    assert {(m.seller_id, m.segment_id, m.free) for m in found.blocking.maxima} == {("ana", "hot", 0), ("ben", "hot", 1)}
    assert found.blocking.verified
    assert {(s.seller_id, s.full[0].segment_id if s.full else "") for s in found.sellers} == {("ana", "hot"), ("ben", "")}
    # Two slots: the first would go to the more urgent one.
    instead = explained(w, "h3", other_seller_id="ben").alternative
    assert (kinds(instead), instead.changes[0].amount, instead.changes[0].maximum.segment_id) == (["SLOT"], 2, "hot")
    assert instead.verified
    assert instead.changes[0].text == "ben would need 2 more slots in segment hot"
    w.run()
    assert w.owner("h3") == ""
    a_seller(w, "ben", 5, hot=3)
    w.run()
    assert w.owner("h3") == "ben"
    assert not explained(w, "h3").HasField("blocking")


def test_what_it_takes_for_somebody_else_is_said_and_true(world: Make) -> None:
    w = world()
    rules = [
        a_rule("near", target={"matching": "seller.region == record.kind"}, score="seller.quality"),
        a_rule("any", target={"matching": 'seller.region != "far"'}),
    ]
    fields = [{"field_id": "region", "type": "FIELD_TYPE_TEXT"}, {"field_id": "quality", "type": "FIELD_TYPE_DECIMAL"}]
    w.apply(settings=quiet_settings(seller_fields=fields), record_types=[lead_type()], segments=[a_segment("leads", *rules)])
    regions = {"ana": ("north", 9.0), "ben": ("north", 7.5), "cid": ("south", 1.0), "eve": ("far", 1.0)}
    w.sellers(*(Seller(name, attributes={"region": place, "quality": quality}) for name, (place, quality) in regions.items()))
    w.write(a_lead("a", kind="north"))
    assert w.owner("a") == "ana"
    found = explained(w, "a", other_seller_id="ben")
    assert found.planned.seller_id == "ana"
    assert [(s.seller_id, s.rule_id, s.score) for s in found.sellers] == [
        ("ana", "leads/near", 9.0),
        ("ben", "leads/near", 7.5),
        ("cid", "leads/any", 0.0),
    ]
    assert kinds(found.alternative)[0] == "LEVEL"
    assert found.alternative.changes[0].text == "the score of ben would have to be 1.5 higher"
    assert found.alternative.verified
    assert kinds(explained(w, "a", other_seller_id="ana").alternative) == []
    by_order = explained(w, "a", other_seller_id="cid").alternative
    assert (by_order.changes[0].level_id, by_order.verified) == ("rule_order", True)
    let_in = explained(w, "a", other_seller_id="eve").alternative
    assert (kinds(let_in)[0], let_in.verified) == ("MATCH", True)
    w.sellers(Seller("ben", assignable=False))
    assert kinds(explained(w, "a", other_seller_id="ben").alternative)[0] == "SWITCH"
    assert "switched on" in w.call("explain", "a", "--to", "ben")
    with pytest.raises(ReallotError, match="nobody"):
        explained(w, "a", other_seller_id="nobody")
    assert [row["seller_id"] for row in w.told("records", "eligible", "a")] == ["ana", "cid"]


def test_the_best_waiting_records_for_a_seller(world: Make) -> None:
    w = world()
    fields = [{"field_id": "region", "type": "FIELD_TYPE_TEXT"}]
    score = "seller.region == record.kind ? record.revenue : 0.0"
    w.apply(
        settings=quiet_settings(seller_fields=fields),
        record_types=[lead_type()],
        segments=[a_segment("leads", a_rule("fit", "BEST_FIT", score=score), on_arrival="ON_ARRIVAL_WAIT")],
    )
    w.sellers(Seller("ana", capacity=1, attributes={"region": "north"}), Seller("ben", capacity=1, attributes={"region": "south"}))
    w.write(a_lead("n1", kind="north", revenue=5.0), a_lead("n2", kind="north", revenue=9.0), a_lead("s1", kind="south", revenue=7.0))
    told = w.told("sellers", "suited", "ana", "--count", "2")[0]["suited"]
    assert [(row["record_id"], row["score"], row.get("planned_seller_id", "")) for row in told] == [("n2", 9.0, "ana"), ("n1", 5.0, "")]
    assert "n2" in w.call("sellers", "suited", "ana")


CHANGES = """
sellers: [{seller_id: ana, capacity: {total: 2}}]
absent: [ben]
hire: [{like: cid, count: 1}]
segments:
- segment_id: leads
  record_type: lead
  is_default: true
  on_arrival: ON_ARRIVAL_WAIT
  rules: [{rule_id: balanced, policy: POLICY_LOAD_BALANCING}]
"""


def a_team(world: Make) -> World:
    w = world()
    w.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", a_rule(), on_arrival="ON_ARRIVAL_WAIT")])
    w.sellers(Seller("ana", capacity=1), Seller("ben", capacity=1), Seller("cid", capacity=1))
    w.write(*(a_lead(f"r{i}", f"2026-03-0{i}T08:00") for i in range(1, 5)))
    return w


def test_what_if_shows_what_would_come_out_otherwise_and_writes_nothing(world: Make, tmp_path: Path) -> None:
    w = a_team(world)
    before = w.events()
    file = tmp_path / "changes.yaml"
    file.write_text(CHANGES)
    told = w.told("whatif", "-f", str(file))[0]
    assert (told["before"]["assigned"], told["after"]["assigned"]) == ("3", "4")
    by_record = {d["record_id"]: (d["before"].get("owner"), d["after"].get("owner")) for d in told["differences"]}
    assert [record for record, (old, _) in by_record.items() if old is None] == ["r4"]
    assert all(new is not None for _, new in by_record.values())
    loads = {s["seller_id"]: (s.get("load_before", "0"), s.get("load_after", "0")) for s in told["sellers"]}
    assert loads == {"ana": ("1", "2"), "ben": ("1", "0"), "cid+1": ("0", "1")}
    assert (told["figures_before"]["sellers"], told["figures_after"]["sellers"]) == ("3", "3")
    assert "cid+1" in w.call("whatif", "-f", str(file))
    assert w.events() == before
    assert w.owners("r1", "r2", "r3", "r4") == [""] * 4
    assert [s.seller_id for s in w.client.sellers.list()] == ["ana", "ben", "cid"]
    # The first plan is the one that a run makes.
    assert w.run().counts.assigned == 3


def test_what_if_an_owner_is_away_and_everything_is_given_out_anew(world: Make) -> None:
    w = a_team(world)
    w.run()
    request = insight_service_pb2.WhatIfRequest(absent_seller_ids=["ana"], reopen=True)
    answer = w.client.stubs.insight.WhatIf(request)
    assert (answer.figures_before.covered, answer.figures_after.covered) == (3, 2)
    assert [(s.seller_id, s.load_before, s.load_after) for s in answer.sellers] == [("ana", 1, 0)]
    assert w.loads() == {"ana": 1, "ben": 1, "cid": 1}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"absent_seller_ids": ["zoe"]}, r"absent_seller_ids\[0\].*zoe"),
        ({"hires": [{"like_seller_id": "ana"}]}, r"hires\[0\].count"),
        ({"sellers": [{"seller_id": "ana", "capacity": {"total": -1}}]}, r"sellers\[0\].capacity.total"),
        ({"resources": [{"segment": {"segment_id": "x", "record_type": "lead", "condition": "record.nope", "priority": 1}}]}, "nope"),
        ({"selection": {"segment_ids": ["nowhere"]}}, r"selection.segment_ids\[0\]"),
    ],
)
def test_what_cannot_be_supposed_is_refused_with_its_place(world: Make, changes: dict[str, Any], said: str) -> None:
    w = a_team(world)
    with pytest.raises(ReallotError, match=said):
        w.client.stubs.insight.WhatIf(json_format.ParseDict(changes, insight_service_pb2.WhatIfRequest()))


def test_two_policies_are_compared_on_the_same_records(world: Make, tmp_path: Path) -> None:
    w = world()
    w.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", a_rule())])
    w.sellers(Seller("ana", capacity=9), Seller("ben", capacity=3))
    w.write(*(Record(f"r{i}", "lead", {}, value_units=10) for i in range(4)))
    assert w.loads() == {"ana": 2, "ben": 2}
    file = tmp_path / "balanced.yaml"
    file.write_text(
        "segments: [{segment_id: leads, record_type: lead, is_default: true, rules: [{rule_id: all, policy: POLICY_LOAD_BALANCING}]}]"
    )
    told = w.told("compare", str(file))[0]
    first, second = told["first_figures"], told["second_figures"]
    assert (first["covered"], second["covered"], first["value_covered"], second["value_covered"]) == ("4", "4", "40", "40")
    assert (first["most_load"], second["most_load"]) == ("2", "4")
    assert told["different"] == "2"
    assert "balanced.yaml" in w.call("compare", str(file))
    assert w.loads() == {"ana": 2, "ben": 2}
