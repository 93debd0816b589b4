"""Runs that say first what they would do: re-segmentation after an edit, applied or dropped, and large runs that wait for approval."""

from typing import Any

import pytest

from reallot.clients import ReallotError, Record, Seller
from reallot.v1 import assignment_service_pb2, record_service_pb2, run_pb2, seller_service_pb2

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


def dropped(w: World, run_id: str) -> dict[str, str]:
    told = w.client.run(w.client.inner.runs.preview(run_id))
    return {m.record_id: assignment_service_pb2.DropReason.Name(m.dropped).removeprefix("DROP_REASON_") for m in told.moves}


def applied(w: World, run_id: str) -> run_pb2.Run:
    w.client.run(w.client.inner.runs.apply(run_id))
    done: run_pb2.Run = w.client.runs.wait(run_id)
    return done


def test_one_assignment_by_hand_does_not_turn_the_rest_of_a_preview_round(world: Make) -> None:
    """Planned anew, every further record of a round robin would go to somebody else."""
    w = world()
    w.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", a_rule(), on_arrival="ON_ARRIVAL_WAIT")])
    w.sellers(*(Seller(name) for name in ("ann", "bob", "cleo")))
    names = [f"L{n}" for n in range(9)]
    w.write(*(a_lead(name) for name in names))
    run = w.run(preview=True)
    told = w.client.run(w.client.inner.runs.preview(run.run_id)).moves
    shown = {m.record_id: m.after.owner.seller_id for m in told}
    assert sorted(shown.values()) == ["ann"] * 3 + ["bob"] * 3 + ["cleo"] * 3
    w.give("bob", "L0")
    w.write(a_lead("L1", company="Acme"), Record("L2", "lead", active=False))
    w.client.stubs.records.DeleteRecords(record_service_pb2.DeleteRecordsRequest(record_ids=["L3"]))
    done = applied(w, run.run_id)
    assert (done.counts.assigned, done.counts.lost) == (5, 4)
    assert {name: w.owner(name) for name in names[4:]} == {name: shown[name] for name in names[4:]}
    assert dropped(w, run.run_id) == {"L0": "OWNER_CHANGED", "L1": "CHANGED", "L2": "CLOSED", "L3": "DELETED"}
    assert (w.owner("L1"), w.owner("L0")) == ("", "bob")


def test_a_move_is_dropped_with_the_reason_why_it_is_not_valid_any_more(world: Make) -> None:
    w = world()
    stages = {f"S{n}": f"s{n}" for n in range(6)}
    segments = [a_segment(s, to(s), condition=f'record.stage == "{s}"', priority=n + 1) for n, s in enumerate(stages.values())]
    queue = a_rule("queue", condition='record.stage == "queue"', target={"queue": {"queue_ids": ["late"]}})
    bundle = {"queues": [{"queue_id": "late"}], "segments": [*segments, a_segment("rest", queue, to("nobody"))]}
    bundle["segments"] = [s | {"on_arrival": "ON_ARRIVAL_WAIT"} for s in bundle["segments"]]
    w.apply(settings=quiet_settings(), record_types=[lead_type()], **bundle)
    w.sellers(*(Seller(s) for s in stages.values()))
    w.write(*(a_lead(name, stage=stage) for name, stage in stages.items()), a_lead("Q", stage="queue"), a_lead("N"))
    run = w.run(preview=True)
    w.sellers(Seller("s0", assignable=False), Seller("s1", capacity=0))
    w.client.stubs.sellers.DeleteSellers(seller_service_pb2.DeleteSellersRequest(seller_ids=["s2"]))
    no_more = [a_rule("to-s3", target={"matching": 'seller.seller_id == "x"'})]
    moved = a_segment("s4", to("s4"), condition='record.stage == "other"', priority=5)
    away = a_segment("s4new", to("s5"), condition='record.stage == "s4"', priority=9, accepts_moves=True, assign_on_move=True)
    w.apply(
        queues=[{"queue_id": "late", "state": "RESOURCE_STATE_PAUSED"}],
        segments=[a_segment("s3", *no_more, condition='record.stage == "s3"', priority=4, on_arrival="ON_ARRIVAL_WAIT"), moved, away],
    )
    w.settle()
    done = applied(w, run.run_id)
    assert dropped(w, run.run_id) == {
        "S0": "TAKER_SWITCHED_OFF",
        "S1": "NO_CAPACITY",
        "S2": "TAKER_GONE",
        "S3": "NOT_ELIGIBLE",
        "Q": "TAKER_SWITCHED_OFF",
    }
    assert (done.counts.lost, w.owners("S4", "S5", "N")) == (5, ["s4", "s5", ""])
    assert w.owners("S0", "S1", "S2", "S3", "Q") == [""] * 5
    said = w.told("runs", "preview", run.run_id)[0]["moves"][0]
    assert (said["dropped"], said["text"]) == ("DROP_REASON_TAKER_SWITCHED_OFF", "who was to get it takes no records any more")


def test_what_belongs_to_another_segment_by_now_is_dropped(world: Make) -> None:
    w = office(world)
    edited(w)
    run = w.run(**RESEGMENT)
    w.apply(segments=[big(650)])
    w.settle()
    done = applied(w, run.run_id)
    assert (dropped(w, run.run_id), done.counts.lost) == ({"L2": "OTHER_SEGMENT"}, 1)
    assert places(w) == [("small", "bob"), ("small", "bob"), ("big", "ann")]


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
