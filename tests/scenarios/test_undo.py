"""A run is taken back: what it moved and gave away is put back for records that nobody has touched since, the others are named."""

from typing import Any

import pytest

from reallot.clients import ReallotError, Record, Seller
from reallot.v1 import assignment_service_pb2, event_pb2, run_pb2

from world import Make, World, a_lead, a_rule, a_segment, kinds, lead_type, quiet_settings

Answer = assignment_service_pb2.UndoRunResponse
RESEGMENT = {"selection": {"record_type": "lead", "filter": "record.revenue > 0", "resegment": True}}
LEADS = ("L1", "L2", "L3")


def to(seller: str) -> dict[str, Any]:
    return a_rule(f"to-{seller}", target={"sellers": {"seller_ids": [seller]}})


def big(least: int) -> dict[str, Any]:
    more = {"accepts_moves": True, "assign_on_move": True, "sequence_id": "calls"}
    return a_segment("big", to("ann"), priority=1, condition=f"record.revenue >= {least}", **more)


def moved(world: World) -> run_pb2.Run:
    """Three of Bob's leads that a run over an edited segment gives to Ann."""
    steps = [{"step_id": "mail", "email": {"template": "t"}}, {"step_id": "call", "call": {"subject": "s"}}]
    world.apply(
        settings=quiet_settings(),
        record_types=[lead_type()],
        sequences=[{"sequence_id": name, "record_type": "lead", "steps": steps} for name in ("calls", "letters")],
        segments=[big(1_000), a_segment("small", to("bob"), accepts_moves=True, sequence_id="letters")],
    )
    world.sellers(Seller("ann"), Seller("bob", capacity=3))
    world.write(*(a_lead(i, revenue=600) for i in LEADS))
    world.apply(segments=[big(500)])
    world.settle()
    run = world.run(**RESEGMENT)
    assert [where(world, i)[:2] for i in LEADS] == [("big", "ann")] * 3
    return run


def where(world: World, record_id: str) -> tuple[str, str, str, int]:
    record = world.record(record_id)
    return record.segment_id, world.owner(record_id), record.enrollment.sequence_id, record.enrollment.step


def undo(world: World, run: run_pb2.Run, **more: Any) -> Answer:
    answer: Answer = world.client.runs.undo(run.run_id, **more)
    world.settle()
    return answer


def left(answer: Answer) -> dict[str, str]:
    return {r.record_id: assignment_service_pb2.UndoObstacle.Name(r.obstacle).removeprefix("UNDO_OBSTACLE_") for r in answer.left_records}


def test_everything_is_as_before_and_everybody_is_told(world: Make) -> None:
    w = world()
    run = moved(w)
    last = w.events()[-1].number
    tried = undo(w, run, validate_only=True)
    assert (tried.undone, tried.left) == (3, 0)
    assert [(m.before.owner.seller_id, m.after.owner.seller_id, m.after.segment_id) for m in tried.moves] == [("ann", "bob", "small")] * 3
    assert w.events()[-1].number == last
    answer = undo(w, run, reason="wrong threshold")
    assert (answer.undone, answer.left, answer.forgotten) == (3, 0, 0)
    assert [where(w, i) for i in LEADS] == [("small", "bob", "letters", 1)] * 3
    assert w.loads() == {"ann": 0, "bob": 3}
    record = w.record("L1")
    assert (w.status("L1"), record.assignment.rule_id, record.assignment.previous_owner.seller_id) == ("ASSIGNED", "small/to-bob", "ann")
    told = [e for e in w.events() if e.number > last]
    assert kinds(told) == ["RESEGMENTED"] * 3
    assert {(e.cause.kind, e.cause.run_id) for e in told} == {(event_pb2.CAUSE_KIND_UNDO, run.run_id)}
    assert told[0].sentence.text.startswith(f"L1 moved from big to small because run {run.run_id} was undone: wrong threshold")
    for seller in ("ann", "bob"):
        assert kinds([n.event for n in w.notices(seller) if n.number > last]) == ["RESEGMENTED"] * 3
    again = undo(w, run)
    assert (again.undone, again.left, again.left_records) == (3, 0, [])
    assert w.events()[-1].number == told[-1].number
    assert w.client.runs.get(run.run_id).counts.undone == 3


def test_what_was_touched_since_is_left_with_a_reason(world: Make) -> None:
    w = world()
    run = moved(w)
    w.client.records.upsert([a_lead("L1", company="Acme")])
    w.client.records.delete(["L2"])
    w.give("bob", "L3")
    answer = undo(w, run)
    assert (answer.undone, answer.left) == (0, 3)
    assert left(answer) == {"L1": "CHANGED", "L2": "DELETED", "L3": "OWNER_CHANGED"}
    assert where(w, "L1")[:2] == ("big", "ann")
    assert where(w, "L3")[:2] == ("big", "bob")


def test_a_former_owner_gets_no_more_than_there_is_room_for_unless_forced(world: Make) -> None:
    w = world()
    run = moved(w)
    w.write(a_lead("other", revenue=1))
    w.sellers(Seller("bob", capacity=2))
    tried = undo(w, run, validate_only=True)
    answer = undo(w, run)
    assert left(answer) == left(tried)
    assert sorted(left(answer).values()) == ["NO_CAPACITY"] * 2
    assert w.loads() == {"ann": 2, "bob": 2}
    w.sellers(Seller("bob", assignable=False))
    assert set(left(undo(w, run)).values()) == {"OWNER_NOT_ELIGIBLE"}
    forced = undo(w, run, force=True)
    assert (forced.undone, forced.left) == (3, 0)
    assert w.loads() == {"ann": 0, "bob": 4}


def test_what_had_no_owner_waits_for_a_run_and_not_for_the_room_that_undoing_makes(world: Make) -> None:
    w = world()
    leads = a_segment("leads", a_rule(), on_arrival="ON_ARRIVAL_WAIT")
    w.apply(settings={"digest_above": 5}, record_types=[lead_type()], segments=[leads])
    w.sellers(Seller("ann"))
    # More than one part.
    w.write(*(a_lead(f"r{n:03d}") for n in range(620)))
    run = w.run()
    assert run.counts.assigned == 620
    answer = undo(w, run, request_id="once")
    assert (answer.undone, answer.left) == (620, 0)
    w.settle()
    assert {(w.status(i), w.owner(i)) for i in ("r000", "r511", "r619")} == {("WAITING", "")}
    assert w.loads() == {"ann": 0}
    assert [(n.digest.gained, n.digest.lost) for n in w.notices("ann")] == [(620, 0), (0, 620)]
    assert w.run().counts.assigned == 620
    # Given away anew, they are no longer as before; the answer to the first request stays what it was.
    assert undo(w, run, request_id="once") == answer
    assert undo(w, run).left == 620


def test_only_a_run_that_has_ended_can_be_undone(world: Make) -> None:
    w = world()
    moved(w)
    w.apply(segments=[big(700)])
    preview = w.run(**RESEGMENT, preview=True)
    with pytest.raises(ReallotError, match="has not ended") as caught:
        undo(w, preview)
    assert caught.value.reason == "RUN_NOT_ENDED"
    with pytest.raises(ReallotError, match="does not exist"):
        w.client.runs.undo("run-nowhere")


@pytest.mark.parametrize("policy", ["WEIGHTED_SHARES", "EVEN_VALUE"])
def test_what_was_shared_out_counts_as_never_given(world: Make, policy: str) -> None:
    w = world()
    shared = a_segment("leads", a_rule("all", policy), on_arrival="ON_ARRIVAL_WAIT")
    w.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[shared])
    w.sellers(Seller("ann", weight=1), Seller("bob", weight=2))
    names = [f"L{n}" for n in range(6)]
    w.write(*(Record(name, "lead", value_units=100) for name in names))

    def given(some: list[str]) -> tuple[run_pb2.Run, list[str]]:
        return w.run(selection={"record_ids": some}), w.owners(*some)

    first, shown = given(names[:4])
    assert undo(w, first).undone == 4
    assert given(names[:4])[1] == shown
    # What is given meanwhile counts on, also where the weights have changed.
    later, _ = given(names[4:])
    w.sellers(Seller("ann", weight=1), Seller("bob", weight=1))
    w.write(Record("M", "lead", value_units=100))
    given(["M"])
    assert undo(w, later).undone == 2
    assert sum(w.loads().values()) == 5
    given(names[4:])
    assert sorted(w.loads().values()) in ([3, 4], [2, 5])
