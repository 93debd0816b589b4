"""Runs over more records than are planned at once: batch after batch, the most urgent first, each optimal on its own."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reallot.v1 import assignment_service_pb2, run_pb2
from support.api import a_row
from support.office import Office, everybody, leads
from support.rows import a_seller

WAITS = {"on_arrival": "ON_ARRIVAL_WAIT"}
AT_ONCE = 3
MONDAY_US = 1_772_438_400_000_000
"""Monday 2026-03-02 08:00 UTC."""


@pytest.fixture(scope="module")
def shared_office(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Office]:
    """An office whose runs take few records at once."""
    file = shutil.copy(empty_database, tmp_path_factory.mktemp("office") / "reallot.sqlite")
    office = Office(f"sqlite:///{file}", MONDAY_US, run_batch_records=AT_ONCE)
    yield office
    office.close()


@pytest.fixture
def at_once(tmp_path: Path, empty_database: Path) -> Iterator[Office]:
    """An office whose runs take all records at once."""
    office = Office(f"sqlite:///{shutil.copy(empty_database, tmp_path / 'reallot.sqlite')}", MONDAY_US)
    yield office
    office.close()


def waiting(office: Office, priorities: list[int], *, free: dict[str, int], settings: dict[str, Any] | None = None) -> list[str]:
    """Leads that wait for a run, one after the other, with these priorities."""
    office.apply(*leads(everybody(**WAITS), settings=settings))
    office.hire(*(a_seller(seller, capacity={"total": total}) for seller, total in free.items()), since=range(1, len(free) + 1))
    ids = [f"L{n:02}" for n in range(len(priorities))]
    for record_id, priority in zip(ids, priorities, strict=True):
        row = a_row(record_id)
        row.record.priority = priority
        row.update_mask.paths.append("priority")
        office.upsert(row)
        office.runner.run(office.clock.set(office.clock.now_us() + 1_000_000))
    office.work()
    return ids


def test_the_most_urgent_come_first_over_all_batches(office: Office) -> None:
    priorities = [10, 90, 50, 90, 10, 50, 70, 10, 90, 50]
    ids = waiting(office, priorities, free={"ann": 7})
    run = office.run()
    ranked = sorted(ids, key=lambda record_id: -priorities[ids.index(record_id)])
    assert [record_id for record_id in ids if office.owners(record_id) == ["ann"]] == sorted(ranked[:7])
    assert {name: number for name, number in run.counts.items() if number} == {
        "considered": 10,
        "assigned": 7,
        "failed": 3,
        "status:ASSIGNED": 7,
        "status:NO_CAPACITY": 3,
    }
    left_out = Counter((name, batch) for name, value, bound, batch in run.body["levels"] if value == bound > 0 and "coverage" in name)
    assert left_out == {("coverage:10", 3): 1, ("coverage:10", 4): 1}
    assert {batch for *_, batch in run.body["levels"]} == {1, 2, 3, 4}
    assert (run.state, run.body["termination"]) == ("SUCCEEDED", ["FEASIBLE", "BATCHES"])


def test_a_run_that_fits_into_one_batch_names_none(office: Office) -> None:
    waiting(office, [50] * AT_ONCE, free={"ann": 9})
    run = office.run()
    assert ({level[-1] for level in run.body["levels"]}, run.body["termination"]) == ({0}, ["OPTIMAL", ""])


@pytest.mark.parametrize("policy", ["POLICY_ROUND_ROBIN", "POLICY_LOAD_BALANCING"])
def test_owners_are_those_of_a_run_at_once(office: Office, at_once: Office, policy: str) -> None:
    owners = []
    for where in (office, at_once):
        where.apply(*leads(everybody("all", {"rule_id": "any", "policy": policy}, **WAITS)))
        where.hire(*(a_seller(name, capacity={"total": 4}) for name in ("ann", "bob", "eve")), since=(3, 1, 2))
        ids = [f"L{n}" for n in range(10)]
        for record_id in ids:
            where.lead(record_id)
            where.runner.run(where.clock.set(where.clock.now_us() + 1_000_000))
        where.work()
        where.run()
        owners.append(where.owners(*ids))
    assert owners[0] == owners[1]


def test_the_limit_counts_over_all_batches(office: Office) -> None:
    ids = waiting(office, [50] * 9, free={"ann": 9})
    run = office.run(limit=5)
    assert office.owners(*ids) == ["ann"] * 5 + [""] * 4
    assert (run.state, run.counts["assigned"]) == ("SUCCEEDED", 5)


def test_a_run_that_is_to_stop_stops_between_batches(office: Office) -> None:
    ids = waiting(office, [50] * 9, free={"ann": 9})
    run_id = office.start()

    def stop() -> None:
        office.call(office.assignment.CancelRun, assignment_service_pb2.CancelRunRequest(run_id=run_id))

    office.after_next_commit(stop, when=lambda: office.stored_run(run_id).counts.get("assigned", 0) > 0)
    office.work()
    run = office.stored_run(run_id)
    assert (run.state, run.counts["assigned"]) == ("CANCELLED", AT_ONCE)
    assert Counter(office.owners(*ids)) == {"ann": AT_ONCE, "": 9 - AT_ONCE}


def test_a_flooded_seller_gets_one_digest_of_all_batches(office: Office) -> None:
    waiting(office, [50] * 9, free={"ann": 9}, settings={"digest_above": 2, "rerun_on": {}})
    office.run()
    notices = office.read(lambda tx: tx.events.notices_after(office.workspace, "ann", 0, 99))
    assert [(notice.kind, notice.body["gained"]) for notice in notices] == [("DIGEST", 9)]


def test_records_that_stay_with_their_owners_are_looked_at_once(office: Office) -> None:
    ids = waiting(office, [50] * 8, free={"ann": 9})
    office.run()
    run = office.run(owned_but_ineligible=True)
    assert (run.state, run.counts.get("considered", 0)) == ("SUCCEEDED", 0)
    assert office.owners(*ids) == ["ann"] * 8


def test_the_call_says_to_which_batch_a_level_belongs(office: Office) -> None:
    waiting(office, [50] * 4, free={"ann": 9})
    run_id = office.run().run_id
    run = office.call(office.assignment.GetRun, assignment_service_pb2.GetRunRequest(run_id=run_id))
    assert [level.batch for level in run.levels if level.level_id.startswith("coverage")] == [1, 2]
    assert run.termination.limit == run_pb2.TERMINATION_LIMIT_BATCHES
