"""Decisions by hand, runs as callers see them, and explanations."""

import asyncio
from typing import Any

import pytest

from reallot.server.errors import ApiError
from reallot.v1 import assignment_service_pb2 as pb
from reallot.v1 import event_pb2, insight_service_pb2, record_pb2, run_pb2
from support.api import a_row, a_segment, seller_owner
from support.office import Office, everybody, leads, listed
from support.rows import a_seller, recount
from support.spoken import english


def assign(office: Office, *record_ids: str, to: str, **parts: Any) -> list[pb.AssignResult]:
    request = pb.AssignRecordsRequest(record_ids=record_ids, owner=seller_owner(to), **parts)
    return list(office.call(office.assignment.AssignRecords, request).results)


def refused(office: Office, method: Any, request: Any) -> tuple[str, str]:
    """Return code and reason of a refusal."""
    with pytest.raises(ApiError) as error:
        office.call(method, request)
    return error.value.code.name, error.value.reason


@pytest.fixture
def office(office: Office) -> Office:
    """Two sellers, the first with room for one lead, and leads that wait."""
    office.apply(*leads(everybody(on_arrival="ON_ARRIVAL_WAIT")))
    office.hire(a_seller("ann", capacity={"total": 1}), a_seller("bob"))
    office.upsert(*(a_row(i) for i in ("L1", "L2", "L3")))
    office.work()
    return office


def test_records_are_given_by_hand_up_to_the_maximum(office: Office) -> None:
    results = assign(office, "L1", "L2", to="ann")
    assert [(r.assigned, r.outcome) for r in results] == [(True, 0), (False, pb.MANUAL_OUTCOME_NO_CAPACITY)]
    assert office.owners("L1", "L2") == ["ann", ""]
    assert (office.record("L1").assignment, office.record("L2").assignment) == ("ASSIGNED_MANUALLY", "WAITING")


def test_force_goes_beyond_the_maximum(office: Office) -> None:
    assert all(r.assigned for r in assign(office, "L1", "L2", to="ann", force=True))
    assert office.loads() == recount(office.records())


def test_every_record_gets_its_own_answer_in_order(office: Office) -> None:
    office.upsert(a_row("closed", active=False))
    assign(office, "L1", to="bob")
    results = assign(office, "unknown", "L1", "closed", "L2", to="bob")
    wanted = [pb.MANUAL_OUTCOME_NOT_FOUND, pb.MANUAL_OUTCOME_UNCHANGED, pb.MANUAL_OUTCOME_NOT_ACTIVE, pb.MANUAL_OUTCOME_UNSPECIFIED]
    assert [r.outcome for r in results] == wanted
    assert [r.record_id for r in results] == ["unknown", "L1", "closed", "L2"]


def test_a_manual_assignment_takes_the_seller_s_turn_and_tells_both_owners(office: Office) -> None:
    assign(office, "L1", to="bob", reason="they know each other")
    assign(office, "L1", to="ann")
    assert [e.kind for e in office.events("L1") if e.kind.endswith("ASSIGNED")] == ["ASSIGNED", "REASSIGNED"]
    assert [[n.kind for n in office.notices(s)] for s in ("bob", "ann")] == [["ASSIGNED", "REASSIGNED"], ["REASSIGNED"]]
    turns = office.read(lambda tx: tx.sellers.turns(office.workspace))
    assert [t.seller_id for t in sorted(turns, key=lambda t: t.order)] == ["bob", "ann"]
    log = office.read(lambda tx: tx.decisions.of_record(office.workspace, "L1", None, 2))
    assert [english(d.reason) for d in log] == ["the owner was set by hand", "they know each other"]
    assert (log[0].before["owner"], log[0].after["owner"]) == ({"seller_id": "bob"}, {"seller_id": "ann"})


def test_a_released_record_waits_and_does_not_bounce(office: Office) -> None:
    office.apply(*leads(everybody(), settings={}))
    assign(office, "L1", to="bob")
    answer = office.call(office.assignment.ReleaseRecords, pb.ReleaseRecordsRequest(record_ids=["L1", "L2", "unknown"]))
    office.work()
    assert (answer.released, list(answer.unknown_record_ids)) == (1, ["unknown"])
    found = office.record("L1")
    assert (found.owner, found.assignment, english(found.reason)) == (None, "WAITING", "it was released by hand and waits for a run")
    assert office.events("L1")[-1].kind == "UNASSIGNED"
    office.run()
    assert office.owner("L1")


def test_a_repeated_request_is_answered_as_before_and_done_once(office: Office) -> None:
    first = assign(office, "L1", to="bob", request_id="once")
    second = assign(office, "L1", to="bob", request_id="once")
    assert first == second
    assert len(office.events("L1", "ASSIGNED")) == 1
    runs = {office.call(office.assignment.StartRun, pb.StartRunRequest(request_id="run")).run_id for _ in range(2)}
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.AssignRecordsRequest(owner=seller_owner("bob")), "INVALID_FIELD"),
        (pb.AssignRecordsRequest(record_ids=["L1"]), "INVALID_FIELD"),
        (pb.AssignRecordsRequest(record_ids=["L1"], owner={"team_id": "none"}), "UNKNOWN_REFERENCE"),
        (pb.AssignRecordsRequest(record_ids=["L1"] * 1_001, owner=seller_owner("bob")), "BATCH_TOO_LARGE"),
    ],
)
def test_what_cannot_be_assigned_is_refused(office: Office, request_: pb.AssignRecordsRequest, reason: str) -> None:
    assert refused(office, office.assignment.AssignRecords, request_) == ("INVALID_ARGUMENT", reason)


def test_an_unknown_seller_is_not_found(office: Office) -> None:
    request = pb.AssignRecordsRequest(record_ids=["L1"], owner=seller_owner("nobody"))
    assert refused(office, office.assignment.AssignRecords, request)[0] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"limit": -1}, "INVALID_FIELD"),
        ({"time_limit": {"seconds": 0}}, "INVALID_FIELD"),
        ({"selection": {"record_type": "deal"}}, "UNKNOWN_RECORD_TYPE"),
        ({"selection": {"segment_ids": ["none"]}}, "UNKNOWN_REFERENCE"),
        ({"selection": {"record_type": "lead", "filter": "record.score >"}}, "CONDITION_INVALID"),
        ({"selection": {"filter": "record.score > 1"}}, "UNKNOWN_RECORD_TYPE"),
    ],
)
def test_a_run_over_nothing_that_exists_is_refused(office: Office, parts: dict[str, Any], reason: str) -> None:
    assert refused(office, office.assignment.StartRun, pb.StartRunRequest(**parts)) == ("INVALID_ARGUMENT", reason)
    assert office.read(lambda tx: tx.runs.unfinished(office.workspace)) == []


def test_a_run_that_has_ended_cannot_be_cancelled(office: Office) -> None:
    run = office.run()
    assert refused(office, office.assignment.CancelRun, pb.CancelRunRequest(run_id=run.run_id)) == (
        "FAILED_PRECONDITION",
        "RUN_NOT_CANCELLABLE",
    )


def test_runs_are_listed_newest_first_without_intake_page_by_page(office: Office) -> None:
    wanted = []
    for _ in range(3):
        office.runner.run(office.clock.set(office.clock.now_us() + 1))
        wanted.insert(0, office.run().run_id)
    first = office.call(office.assignment.ListRuns, pb.ListRunsRequest(page_size=2))
    second = office.call(office.assignment.ListRuns, pb.ListRunsRequest(page_size=2, page_token=first.next_page_token))
    assert [r.run_id for r in [*first.runs, *second.runs]] == wanted
    assert second.next_page_token == ""
    intake = office.call(office.assignment.ListRuns, pb.ListRunsRequest(kinds=[run_pb2.RUN_KIND_INTAKE]))
    assert {r.kind for r in intake.runs} == {run_pb2.RUN_KIND_INTAKE}


def test_whoever_watches_a_run_sees_it_begin_and_end(office: Office) -> None:
    run_id = office.start()

    async def watch() -> list[pb.WatchRunResponse]:
        working = asyncio.ensure_future(office.runs.drain())
        request = pb.WatchRunRequest(workspace=office.workspace, run_id=run_id)
        seen = [message async for message in office.assignment.WatchRun(request, None)]  # type: ignore[arg-type]
        await working
        return seen

    seen = office.runner.run(watch())
    assert seen[-1].run.state == run_pb2.RUN_STATE_SUCCEEDED
    assert (seen[-1].done, seen[-1].total, seen[-1].run.counts.assigned) == (3, 3, 3)


def test_candidates_come_in_the_order_of_rules_with_the_reason_of_those_who_cannot(office: Office) -> None:
    office.apply(*leads(everybody("all", listed("first", "bob"), listed("second", "ann", "gone"))))
    office.hire(a_seller("gone", assignable=False))
    request = pb.ListEligibleSellersRequest(record_id="L1", include_others=True)
    found = office.call(office.assignment.ListEligibleSellers, request).candidates
    assert [(c.seller_id, c.rule_id, c.verdict) for c in found] == [
        ("bob", "all/first", event_pb2.VERDICT_ELIGIBLE),
        ("ann", "all/second", event_pb2.VERDICT_ELIGIBLE),
        ("gone", "", event_pb2.VERDICT_SWITCHED_OFF),
    ]


def test_an_explanation_names_segments_rules_sellers_and_decisions(office: Office) -> None:
    office.apply(*leads(a_segment("high", 1, condition="record.score > 5"), everybody()))
    office.run()
    request = insight_service_pb2.ExplainRecordRequest(record_id="L1")
    found = office.call(office.insight().ExplainRecord, request)
    assert [(s.segment_id, s.matches, s.present) for s in found.segments] == [("high", False, False), ("all", True, True)]
    assert [rule.rule_id for rule in found.rules] == ["all/any"]
    assert found.decisions[0].status == record_pb2.ASSIGNMENT_STATUS_ASSIGNED
    assert found.summary.startswith("L1 is in the segment all and belongs to ")


def test_a_seller_gets_one_digest_instead_of_many_notices_of_a_run(office: Office) -> None:
    office.apply(*leads(everybody(on_arrival="ON_ARRIVAL_WAIT"), settings={"digest_above": 2, "rerun_on": {"causes": []}}))
    office.upsert(*(a_row(f"M{i}") for i in range(4)))
    office.work()
    run = office.run()
    (notice,) = office.notices("bob")
    assert (notice.kind, notice.body["gained"], notice.body["run_id"]) == ("DIGEST", 6, run.run_id)
    assert [n.kind for n in office.notices("ann")] == ["ASSIGNED"]
