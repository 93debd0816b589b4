"""What sellers own is spread anew: what changes would gain, and a run that makes so many of them."""

import pytest

from reallot.clients import ReallotError, Record, Seller
from reallot.v1 import run_pb2

from world import Make, World, a_lead, a_rule, a_segment, lead_type, quiet_settings


def lopsided(world: Make) -> World:
    """Ana owns six leads when ben joins."""
    w = world()
    w.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", a_rule("even", "LOAD_BALANCING"))])
    w.sellers(Seller("ana", capacity=9))
    w.write(*(a_lead(f"r{i}") for i in range(6)))
    w.sellers(Seller("ben", capacity=9))
    return w


def test_the_frontier_says_what_changes_gain_and_a_run_makes_them(world: Make) -> None:
    w = lopsided(world)
    told = w.told("rebalance", "--dry-run")[0]
    assert [(point.get("changes", "0"), point["most_load"]) for point in told["points"]] == [("0", "6"), ("1", "5"), ("2", "4"), ("3", "3")]
    assert "changes" in w.call("rebalance", "--dry-run")
    assert w.loads() == {"ana": 6, "ben": 0}
    few = w.run(selection={"rebalance": {"most_changes": 2}})
    assert (few.state, few.kind, few.counts.moved) == (run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_KIND_MANUAL, 2)
    assert w.loads() == {"ana": 4, "ben": 2}
    untouched = {i: w.record(f"r{i}").etag for i in range(6) if w.owner(f"r{i}") == "ana"}
    w.call("rebalance", "--yes")
    assert w.loads() == {"ana": 3, "ben": 3}
    assert sum(w.record(f"r{i}").etag != etag for i, etag in untouched.items()) == 1
    assert len(w.told("rebalance", "--dry-run")[0]["points"]) == 1


def test_a_rebalancing_run_can_be_previewed_and_undone(world: Make) -> None:
    w = lopsided(world)
    run = w.run(selection={"rebalance": {}}, preview=True)
    assert (run.state, run.counts.moved, w.loads()) == (run_pb2.RUN_STATE_PREVIEWED, 3, {"ana": 6, "ben": 0})
    w.client.runs.apply(run.run_id)
    assert w.client.runs.wait(run.run_id).counts.moved == 3
    assert w.loads() == {"ana": 3, "ben": 3}
    w.client.runs.undo(run.run_id)
    assert w.loads() == {"ana": 6, "ben": 0}


def test_who_is_no_longer_eligible_comes_first_and_who_fits_nobody_stays(world: Make) -> None:
    w = lopsided(world)
    w.sellers(Seller("ana", assignable=False), Seller("ben", capacity=4))
    run = w.run(selection={"rebalance": {}})
    assert (run.counts.moved, w.loads()) == (4, {"ana": 2, "ben": 4})


def test_what_cannot_be_rebalanced_is_refused(world: Make) -> None:
    w = lopsided(world)
    with pytest.raises(ReallotError, match=r"selection\.rebalance\.most_changes"):
        w.run(selection={"rebalance": {"most_changes": -1}})
    with pytest.raises(ReallotError, match=r"selection\.rebalance"):
        w.run(selection={"rebalance": {}, "resegment": True})
    w.write(Record("big", "lead", {}, effort=3))
    run = w.run(selection={"rebalance": {}})
    assert (run.state, "effort 1" in run.failure) == (run_pb2.RUN_STATE_FAILED, True)
