"""Questions about plans: what one more slot is worth, why a record has nobody, and what would be if."""

import pytest

from reallot.clients import ReallotError, Record
from reallot.v1 import insight_service_pb2, run_pb2, seller_pb2, seller_service_pb2

from world import Make, World, a_rule, a_segment, lead_type, quiet_settings


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
