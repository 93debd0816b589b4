"""A stored run is planned again to the same bytes, and the order in which records came does not matter."""

import pytest

from reallot.clients import ReallotError, Record, Seller
from reallot.v1 import assignment_service_pb2, run_pb2

from world import Make, World, a_lead, a_rule, a_segment, lead_type, quiet_settings


def an_office(world: Make) -> World:
    w = world()
    rules = [a_rule("big", "LOAD_BALANCING", condition="record.revenue >= 50.0"), a_rule("any")]
    w.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", *rules, on_arrival="ON_ARRIVAL_WAIT")])
    w.sellers(*(Seller(name, capacity=room) for name, room in (("ana", 4), ("ben", 3), ("cid", 6))))
    return w


def some_leads() -> list[Record]:
    return [a_lead(f"r{i:02}", f"2026-03-{1 + i % 4:02}T08:00", revenue=float(7 * i % 100)) for i in range(20)]


def replayed(w: World, run: run_pb2.Run) -> assignment_service_pb2.ReplayRunResponse:
    answer: assignment_service_pb2.ReplayRunResponse = w.client.stubs.assignment.ReplayRun(
        assignment_service_pb2.ReplayRunRequest(run_id=run.run_id)
    )
    return answer


def test_a_run_is_replayed_after_everything_has_changed(world: Make) -> None:
    w = an_office(world)
    w.write(*some_leads())
    limited, rest = w.run(limit=5), w.run()
    assert (limited.counts.assigned, rest.counts.assigned) == (5, 8)
    assert limited.solver.replayable
    w.sellers(Seller("ana", capacity=50), Seller("ben", assignable=False))
    w.apply(segments=[a_segment("leads", a_rule("other"))])
    later = w.run()
    for run in (limited, rest, later):
        answer = replayed(w, run)
        assert answer.equal
        assert answer.replayed_digest == answer.stored_digest == run.digest
    assert len({limited.digest, rest.digest, later.digest}) == 3
    assert w.told("runs", "replay", rest.run_id)[0]["equal"]
    with pytest.raises(ReallotError, match="nowhere"):
        replayed(w, run_pb2.Run(run_id="nowhere"))


def test_the_order_in_which_records_come_does_not_change_the_plan(world: Make) -> None:
    runs = []
    for leads in (some_leads(), some_leads()[::-1]):
        w = an_office(world)
        for start in range(0, len(leads), 7):
            w.write(*leads[start : start + 7])
        runs.append((w.run().digest, w.owners(*(f"r{i:02}" for i in range(20)))))
    assert runs[0] == runs[1]


def test_intakes_reruns_on_events_and_rebalancing_runs_are_replayed(world: Make) -> None:
    w = an_office(world)
    w.apply(settings={"digest_above": 20}, segments=[a_segment("leads", a_rule("even", "LOAD_BALANCING"))])
    w.write(*some_leads()[:15])
    w.sellers(Seller("dan", capacity=9))
    w.settle()
    few = w.run(selection={"rebalance": {"most_changes": 1}})
    w.run(selection={"rebalance": {}})
    w.sellers(*(Seller(name, assignable=False) for name in ("ana", "ben", "cid", "dan")))
    assert few.counts.moved == 1
    kinds = [run_pb2.RUN_KIND_INTAKE, run_pb2.RUN_KIND_EVENT, run_pb2.RUN_KIND_MANUAL]
    told = list(w.client.runs.list(kinds=kinds))
    assert {run.kind for run in told} == set(kinds)
    for run in told:
        answer = replayed(w, run)
        assert answer.equal, run
        assert (run.solver.replayable, run.solver.version) == (True, answer.stored_version)
    assert f"by {few.solver.version}" in w.call("runs", "replay", few.run_id)


def test_what_is_not_kept_is_said(world: Make) -> None:
    w = an_office(world)
    w.apply(settings=quiet_settings(retention={"intakes": 0}), segments=[a_segment("leads", a_rule())])
    w.write(a_lead("x"))
    (intake,) = w.client.runs.list(kinds=[run_pb2.RUN_KIND_INTAKE])[:1]
    assert not intake.solver.replayable
    with pytest.raises(ReallotError, match="not kept"):
        replayed(w, intake)
    with pytest.raises(ReallotError, match=r"retention\.intakes"):
        w.apply(settings=quiet_settings(retention={"intakes": -1}))
