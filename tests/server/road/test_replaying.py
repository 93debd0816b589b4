"""A replay by another version of the solver says that it is another one."""

from dataclasses import replace

from reallot.solver.assignment import SOLVER_VERSION
from reallot.v1 import assignment_service_pb2 as pb
from support.api import a_row
from support.office import Office, everybody, leads
from support.rows import a_seller


def test_a_replay_names_the_version_that_planned(office: Office) -> None:
    office.apply(*leads(everybody(on_arrival="ON_ARRIVAL_WAIT")))
    office.hire(a_seller("ann"), a_seller("ben"))
    office.upsert(*(a_row(f"L{n}") for n in range(5)))
    office.work()
    run = office.run()
    stored = office.db.read(lambda tx: tx.runs.get(office.workspace, run.run_id))
    body = {**(stored.body or {}), "digest": "other", "solver": {**(stored.body or {})["solver"], "version": "models 0, ortools 9.14"}}
    office.db.write(office.workspace, lambda tx: tx.runs.update(office.workspace, replace(stored, body=body)))
    answer = office.runner.run(office.assignment.ReplayRun(pb.ReplayRunRequest(workspace=office.workspace, run_id=run.run_id), None))
    assert not answer.equal
    assert (answer.stored_version, answer.replayed_version) == ("models 0, ortools 9.14", SOLVER_VERSION)
