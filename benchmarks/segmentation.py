"""Records segmented again by 50 conditions of five clauses from stored rows, as a re-segmentation run does.

Prints the seconds of reading (rows from the database, fields to columns), of evaluating (all conditions over all records), of everything
else up to the plan, and of writing (moves written up and committed, past any server), each with its share. Run with
`make bench NAME=segmentation ARGS="--records 200000"`.
"""

import argparse
import time
from collections import Counter
from typing import Any

from benchmarks.databases import Databases
from benchmarks.report import Promise, arguments, run, tell
from benchmarks.workload import LOADED_US, WORKSPACE, Workload
from reallot.clients.bundle import parse_bundle
from reallot.server.road.batch import Piece, Plan, Task
from reallot.server.road.commit import Digests, commit_piece
from reallot.server.road.solve import solve_task
from reallot.server.workspace_config import WorkspaceConfig, resource_id, to_body
from reallot.solver.segmentation import evaluate, frame_from_json
from reallot.storage import Database, ReadTransaction, RecordFilter, WriteTransaction
from reallot.storage.entities import ConfigRow
from reallot.v1 import run_pb2

MOST_SECONDS = 3.0
"""Of reading and evaluating 200,000 records by 50 conditions."""
PROMISED = 200_000 * 50


def _condition(number: int) -> str:
    """Return five clauses; about one record in 50 matches."""
    low = number * 200_000
    return (
        f"record.revenue >= {low}.0 && record.revenue < {low + 200_000}.0 && record.score >= 0 && "
        f'(record.source in ["web", "fair"] || present(record.company)) && record.company != "Company {number}"'
    )


def _bundle(segments: int) -> dict[str, Any]:
    kinds = {"score": "INTEGER", "revenue": "DECIMAL", "source": "TEXT", "company": "TEXT"}
    fields = [{"field_id": name, "type": f"FIELD_TYPE_{kind}"} for name, kind in kinds.items()]
    made = [
        {"segment_id": f"s{n}", "record_type": "lead", "priority": n + 1, "condition": _condition(n), "accepts_moves": True}
        for n in range(segments)
    ]
    rest = {"segment_id": "all", "record_type": "lead", "is_default": True}
    return {"record_types": [{"record_type": "lead", "fields": fields}], "segments": [*made, rest]}


def _configure(db: Database, segments: int) -> None:
    resources, _ = parse_bundle(_bundle(segments))
    rows = [ConfigRow(*resource_id(resource), to_body(resource), 0, 0, 0) for resource in resources]
    db.write(WORKSPACE, lambda tx: tx.config.apply(WORKSPACE, rows, [], actor="benchmark", time_us=tx.now_us))


def _seconds_alone(tx: ReadTransaction, config: WorkspaceConfig) -> tuple[float, float, float]:
    """Return the seconds of rows, of columns, and of evaluating, each by itself."""
    conditions = [s.condition for s in config.segments_by_type["lead"] if s.condition is not None]
    begun = time.perf_counter()
    texts = tx.records.snapshot(WORKSPACE, RecordFilter(active=True)).fields
    read = time.perf_counter()
    frame = frame_from_json("record", config.record_types["lead"].schema, texts, only=sorted(config.implied_fields["lead"]))
    columns = time.perf_counter()
    evaluate(conditions, frame, now_us=LOADED_US)
    return read - begun, columns - read, time.perf_counter() - columns


def _planned(tx: ReadTransaction, config: WorkspaceConfig) -> tuple[Plan, list[Piece], float]:
    """Return the plan of a re-segmentation, its moves, and the seconds of writing them up."""
    selection = run_pb2.RunSelection(record_type="lead", resegment=True).SerializeToString()
    task = Task(WORKSPACE, LOADED_US, "MANUAL", "run", selection=selection, cause={"kind": "RUN", "resegment": True})
    plan, moves = solve_task(tx, config, task, lambda _stage: None)
    begun = time.perf_counter()
    return plan, list(moves), time.perf_counter() - begun


def _committed(db: Database, config: WorkspaceConfig, plan: Plan, pieces: list[Piece]) -> tuple[Counter[str], float]:
    counts: Counter[str] = Counter()
    begun = time.perf_counter()
    for piece in pieces:

        def commit(tx: WriteTransaction, piece: Piece = piece) -> Counter[str]:
            return commit_piece(tx, config, piece, Digests(plan.flooded), 0)[0]

        counts += db.write(WORKSPACE, commit)
    return counts, time.perf_counter() - begun


def measure(given: argparse.Namespace, databases: Databases) -> None:
    """Measure one re-segmentation."""
    url = databases.fresh()
    Workload(1, given.records).load(url, given.records)
    db = Database(url, clock_us=lambda: LOADED_US)
    try:
        _configure(db, given.segments)
        config = db.read(lambda tx: WorkspaceConfig.of(WORKSPACE, tx.config.version(WORKSPACE), tx.config.resources(WORKSPACE)))
        rows, columns, evaluating = db.read(lambda tx: _seconds_alone(tx, config))
        plan, pieces, up = db.read(lambda tx: _planned(tx, config))
        counts, committing = _committed(db, config, plan, pieces)
    finally:
        db.close()
    seconds = {"reading": rows + columns, "evaluating": evaluating, "writing": up + committing}
    seconds["deciding"] = max(sum(plan.seconds.values()) - rows - columns - evaluating, 0.0)
    whole = sum(seconds.values())
    figures = {
        "records": given.records,
        "segments": given.segments,
        "moved": counts["resegmented"],
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "share": {name: round(value / whole, 3) for name, value in seconds.items()},
    }
    scale = given.records * given.segments / PROMISED
    promise = Promise(
        "seconds of reading and evaluating", round(rows + columns + evaluating, 3), MOST_SECONDS * max(scale, 1), at_most=True
    )
    tell("segmentation", databases.engine, figures, [promise])


def main() -> None:
    """Measure as the command line says."""
    run(arguments(__doc__, {"records": 200_000, "segments": 50}).parse_args(), measure)


if __name__ == "__main__":
    main()
