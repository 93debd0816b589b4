"""Runs that say first what they would do: re-segmentation after an edit, applied or dropped, and large runs that wait for approval."""

from typing import Any

import pytest

from reallot.clients import ReallotError, Seller
from reallot.v1 import run_pb2

from world import Make, World, a_lead, a_rule, a_segment, lead_type, quiet_settings

STEPS = [{"step_id": "mail", "email": {"template": "t"}}]


def office(world: Make, **settings: Any) -> World:
    w = world()
    w.apply(
        settings=quiet_settings(**settings),
        record_types=[lead_type()],
        sequences=[{"sequence_id": "calls", "record_type": "lead", "steps": STEPS}],
        segments=[big(1_000), a_segment("small", to("bob"), accepts_moves=True)],
    )
    w.sellers(Seller("ann", capacity=2), Seller("bob"))
    return w


def to(seller: str) -> dict[str, Any]:
    return a_rule(f"to-{seller}", target={"sellers": {"seller_ids": [seller]}})


def big(least: int) -> dict[str, Any]:
    more = {"accepts_moves": True, "assign_on_move": True, "sequence_id": "calls"}
    return a_segment("big", to("ann"), priority=1, condition=f"record.revenue >= {least}", **more)


def places(w: World) -> list[tuple[str, str]]:
    return [(w.record(i).segment_id, w.owner(i)) for i in ("L1", "L2", "L3")]


def edited(w: World) -> None:
    """Three leads, of which two belong elsewhere since the segment was edited: nothing is done about that by itself."""
    w.write(a_lead("L1", revenue=100), a_lead("L2", revenue=600), a_lead("L3", revenue=700))
    w.apply(segments=[big(500)])
    w.settle()
    assert places(w) == [("small", "bob")] * 3


RESEGMENT = {"selection": {"record_type": "lead", "filter": "record.revenue > 0", "resegment": True}, "preview": True}


def test_a_preview_says_every_move_and_does_nothing(world: Make) -> None:
    w = office(world)
    edited(w)
    run = w.run(**RESEGMENT)
    assert run.state == run_pb2.RUN_STATE_PREVIEWED
    assert (run.counts.resegmented, run.counts.moved) == (2, 2)
    told = w.client.run(w.client.inner.runs.preview(run.run_id))
    assert [(m.record_id, m.before.owner.seller_id, m.after.owner.seller_id, m.after.segment_id) for m in told.moves] == [
        ("L2", "bob", "ann", "big"),
        ("L3", "bob", "ann", "big"),
    ]
    assert [(f.from_segment_id, f.to_segment_id, f.records) for f in told.flows] == [("small", "big", 2)]
    assert [(s.seller_id, s.gained, s.lost, s.load) for s in told.sellers] == [("ann", 2, 0, 2), ("bob", 0, 2, -2)]
    assert (told.sequences_ended, told.sequences_started) == (0, 2)
    assert places(w) == [("small", "bob")] * 3
    assert w.notices("ann") == []


def test_what_is_applied_is_what_was_previewed(world: Make) -> None:
    w = office(world)
    edited(w)
    run = w.run(**RESEGMENT)
    # One is touched meanwhile, and one comes that the preview has not seen.
    w.client.records.upsert([a_lead("L2", company="Acme"), a_lead("L9", revenue=1)])
    w.settle()
    w.client.run(w.client.inner.runs.apply(run.run_id))
    done = w.client.runs.wait(run.run_id)
    assert done.state == run_pb2.RUN_STATE_SUCCEEDED
    assert places(w) == [("small", "bob"), ("small", "bob"), ("big", "ann")]
    assert (done.counts.moved, done.counts.lost) == (1, 1)
    assert w.loads() == {"ann": 1, "bob": 3}
    with pytest.raises(ReallotError, match="no preview"):
        w.client.run(w.client.inner.runs.apply(run.run_id))


def test_a_dropped_preview_is_gone(world: Make) -> None:
    w = office(world)
    edited(w)
    run = w.run(**RESEGMENT)
    assert w.client.run(w.client.inner.runs.drop(run.run_id)).state == run_pb2.RUN_STATE_DROPPED
    w.settle()
    assert places(w) == [("small", "bob")] * 3
    with pytest.raises(ReallotError, match="no preview"):
        w.client.run(w.client.inner.runs.preview(run.run_id))


def test_a_resegmentation_without_preview_moves_what_belongs_elsewhere_and_leaves_the_rest(world: Make) -> None:
    w = office(world)
    edited(w)
    before = w.record("L1")
    run = w.run(selection=RESEGMENT["selection"])
    assert (run.state, run.counts.resegmented) == (run_pb2.RUN_STATE_SUCCEEDED, 2)
    assert places(w) == [("small", "bob"), ("big", "ann"), ("big", "ann")]
    assert w.record("L1").etag == before.etag


@pytest.mark.parametrize(("percent", "waits"), [(60, True), (70, False)])
def test_a_large_run_waits_for_approval(world: Make, percent: int, waits: bool) -> None:
    w = office(world, approve_above_percent=percent)
    edited(w)
    run = w.run(selection=RESEGMENT["selection"])
    assert run.state == (run_pb2.RUN_STATE_PREVIEWED if waits else run_pb2.RUN_STATE_SUCCEEDED)
    moved = [("small", "bob"), ("big", "ann"), ("big", "ann")]
    assert places(w) == ([("small", "bob")] * 3 if waits else moved)
    if waits:
        w.client.run(w.client.inner.runs.apply(run.run_id))
        w.client.runs.wait(run.run_id)
        assert places(w) == moved
