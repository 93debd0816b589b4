"""Reports: how long records waited, why some still do, and what sellers carry."""

from typing import Any

from sqlalchemy import text
from structlog.testing import capture_logs

from reallot.clients.commands.reporting import Usage, page, readable, segment_row, shares
from reallot.clients.terminal import lasting
from reallot.server.convert.values import from_us
from reallot.server.keeper import Keeper
from reallot.server.services.sequences import SequenceService
from reallot.v1 import insight_service_pb2 as pb
from reallot.v1 import record_pb2, sequence_service_pb2
from support.api import a_row, instant, resource
from support.office import HOUR_US, Office, everybody, leads, listed
from support.rows import a_seller


def report(office: Office, **period: Any) -> pb.GetReportResponse:
    found = office.call(office.insight().GetReport, pb.GetReportRequest(**period))
    assert isinstance(found, pb.GetReportResponse)
    return found


def pass_hours(office: Office, hours: int) -> None:
    office.runner.run(office.clock.set(office.clock.now_us() + hours * HOUR_US))


def morning(office: Office) -> None:
    """At 08:00 one of four leads finds an owner; after two hours there is room for two; one fits nobody."""
    office.runner.run(office.clock.set(1_772_438_400_000_000))
    rules = [listed("all", "ann", condition="record.score < 5"), listed("none", "nobody")]
    office.apply(*leads(everybody("all", *rules)))
    office.hire(a_seller("ann", capacity={"total": 1}), a_seller("ben"))
    for record_id, score in (("a", 1), ("b", 1), ("c", 1), ("d", 9)):
        office.lead(record_id, score=score)
        office.work()
    pass_hours(office, 2)
    office.seller("ann", capacity={"total": 2})
    office.run()


def test_waiting_is_counted_by_segment_and_status(office: Office) -> None:
    morning(office)
    (row,) = report(office).waiting
    assert (row.segment_id, row.assigned, row.waiting) == ("all", 2, 2)
    assert (row.median_seconds, row.p90_seconds) == (3_600.0, 6_480.0)
    names = {record_pb2.AssignmentStatus.Name(count.status) for count in row.waiting_by_status}
    assert names == {"ASSIGNMENT_STATUS_NO_CAPACITY", "ASSIGNMENT_STATUS_NO_SELLER_MATCHED"}
    assert segment_row(row) == ("all", 2, 3_600, 6_480, 0, 0, 0, 2, 1, 0, 1, 0)
    assert shares([segment_row(row)]) == {"capacity": 50, "absence": 0, "no match": 50, "other": 0}


def test_the_first_contact_counts_from_when_a_record_came_by_segment_and_period(office: Office) -> None:
    kinds = ({"task": {"subject": "prepare"}}, {"call": {}}, {"email": {"template": "more"}})
    steps = [{"step_id": f"s{place}", **kind} for place, kind in enumerate(kinds)]
    office.apply(
        *leads(everybody("all", sequence_id="reach")), resource(sequence={"sequence_id": "reach", "record_type": "lead", "steps": steps})
    )
    office.hire(a_seller("ann"))
    for record_id in ("a", "b", "c"):
        office.lead(record_id)
    office.work()
    for record_id, hours in (("a", (0, 1, 1)), ("b", (1, 2))):
        for step, wait in enumerate(hours, 1):
            pass_hours(office, wait)
            done = sequence_service_pb2.CompleteStepRequest(record_id=record_id, step=step)
            office.call(SequenceService(office.runtime).CompleteStep, done)
            office.work()
    pass_hours(office, 1)
    (row,) = report(office).waiting
    # The task before is no contact, the mail after the call not the first; c has had none.
    assert (row.contacted, row.median_contact_seconds, row.p90_contact_seconds) == (2, 3 * 3_600.0, (1 + 0.9 * 4) * 3_600.0)
    since = from_us(office.clock.now_us() - 2 * HOUR_US)
    (late,) = report(office, start_time=since).waiting
    assert (late.contacted, late.median_contact_seconds) == (1, 5 * 3_600.0)


def test_a_period_leaves_out_what_was_before_and_after_it(office: Office) -> None:
    morning(office)
    (late,) = report(office, start_time=instant("2026-03-02T09:00")).waiting
    assert (late.assigned, late.median_seconds, late.waiting) == (1, 7_200.0, 0)
    (early,) = report(office, end_time=instant("2026-03-02T09:00")).waiting
    assert (early.assigned, early.median_seconds, early.waiting) == (1, 0.0, 2)


def test_loads_are_those_of_all_sellers(office: Office) -> None:
    morning(office)
    assert dict(report(office).load_by_seller) == {"ann": 2, "ben": 0}


def test_the_page_stands_alone_and_takes_no_name_for_html() -> None:
    made = page([("<b>", 1, 2, 3, 0, 0, 0, 4, 4, 0, 0, 0)], [Usage("<i>", 3, 2), Usage("ben", 0, 0)])
    assert "&lt;b&gt;" in made
    assert "&lt;i&gt;" in made
    assert not {"<b>", "<i>", "http", "src=", "<script"} & {text for text in ("<b>", "<i>", "http", "src=", "<script") if text in made}
    assert 'class="over"' in made
    # Four wait for room: their bar is as long as the longest, and they are all there is.
    assert '<rect x="0.00" width="100.00" height="8" fill="#c05621"><title>capacity: 4</title>' in made
    assert "capacity 100 % (4)" in made
    assert "Nothing waits." in page([], [])


def test_lengths_of_time_are_told_in_the_unit_that_suits_them() -> None:
    lengths = {0: "0 s", 0.0421: "0.0421 s", 59: "59 s", 90: "1.5 min", 5_400: "1.5 h", 86_400: "1.0 d", 1_000_000: "11.6 d"}
    assert {seconds: lasting(seconds) for seconds in lengths} == lengths
    assert readable(("all", 2, 3_600, 6_480, 0, 0, 0, 2, 1, 0, 1, 0))[1:7] == (2, "1.0 h", "1.8 h", 0, "–", "–")


def test_records_that_never_find_anybody_starve_no_others(office: Office) -> None:
    """The 500 oldest fit nobody; a run may assign 500; the 100 that came after them have their owner after the first run."""
    waits = everybody("all", listed("some", "ann", condition="record.score > 5"), on_arrival="ON_ARRIVAL_WAIT")
    office.apply(*leads(waits))
    office.hire(a_seller("ann", capacity={"total": 1_000}))
    created = [office.clock.now_us() - (600 - number) * 1_000_000 for number in range(600)]
    office.upsert(
        *(a_row(f"r{number:03}", {"score": 9 if number >= 500 else 1}, created_time=from_us(created[number])) for number in range(600))
    )
    office.work()
    office.run(limit=500)
    owned = [record.record_id for record in office.records() if record.owner is not None]
    assert owned == [f"r{number}" for number in range(500, 600)]


def test_a_damaged_load_is_put_right_and_what_it_kept_out_comes_in(office: Office) -> None:
    office.apply(*leads(everybody("all"), settings={}))
    office.hire(a_seller("ann", capacity={"total": 3}))
    office.lead("a")
    office.work()
    damage = text("UPDATE loads SET effort = 9 WHERE seller_id = 'ann' AND workspace = :ws")
    office.write(lambda tx: tx.connection.execute(damage, {"ws": office.workspace}))
    office.lead("b")
    office.work()
    assert office.owner("b") == ""
    with capture_logs() as logged:
        office.runner.run(Keeper(office.runtime).look())
        office.runner.run(Keeper(office.runtime).look())
    (line,) = [entry for entry in logged if "put right" in entry["event"]]
    assert (line["log_level"], line["seller_id"], line["kept"], line["counted"]) == ("error", "ann", 9, 1)
    office.work()
    assert (office.owner("b"), [load.effort for load in office.loads()]) == ("ann", [2])
