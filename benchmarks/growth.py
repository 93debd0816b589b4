"""What a rerun takes as more is stored: it should grow with what waits, not with what lies beside it.

Two series, a line each: a fixed number of records wait among more and more others, and all records wait. Beside each line stands the
growth over the line before: of the seconds, and of what is stored or waits. Run with `make bench NAME=growth ARGS="--stored 1000000"`.
"""

import argparse
from collections.abc import Iterator

from benchmarks.databases import Databases
from benchmarks.report import Promise, arguments, run, tell
from benchmarks.rerun import Rerun, prepared, rerun
from benchmarks.workload import Workload

STEP = 10
"""Each size is so many times the one before."""
LARGEST_GROWTH = {"stored": 1.5, "waiting": 1.2 * STEP}
"""How much longer a run may take than that of the line before: hardly, where only what is stored has grown; else as much as what waits."""


def _sizes(first: int, last: int) -> Iterator[int]:
    while first <= last:
        yield first
        first *= STEP


def _measured(databases: Databases, given: argparse.Namespace, waiting: int, stored: int) -> Rerun:
    workload = Workload(given.sellers, waiting)
    # One more, which warms the server up.
    url = prepared(databases, workload, waiting + 1, stored - waiting)
    made = rerun(url, workload.name(waiting))
    databases.drop(url)
    if made.assigned != waiting:
        raise RuntimeError(f"{made.assigned} of {waiting} records were assigned")
    return made


def series(name: str, sizes: list[tuple[int, int]], given: argparse.Namespace, databases: Databases) -> None:
    """Run over records that wait among as many as are stored, size by size."""
    before: Rerun | None = None
    for waiting, stored in sizes:
        made = _measured(databases, given, waiting, stored)
        growth = round(made.seconds / before.seconds, 2) if before is not None else None
        figures = {
            "series": name,
            "waiting": waiting,
            "stored": stored,
            "sellers": given.sellers,
            "seconds": round(made.seconds, 2),
            "stage_seconds": {stage: round(seconds, 2) for stage, seconds in made.stages.items()},
        }
        promises = [Promise(f"seconds, to those at a {STEP}th", growth, LARGEST_GROWTH[name], at_most=True)] if growth is not None else []
        tell("growth", databases.engine, figures, promises)
        before = made


def measure(given: argparse.Namespace, databases: Databases) -> None:
    """Measure both series."""
    series("stored", [(given.waiting, stored) for stored in _sizes(given.waiting, given.stored)], given, databases)
    series("waiting", [(size, size) for size in _sizes(given.waiting, given.all)], given, databases)


def main() -> None:
    """Measure as the command line says."""
    run(arguments(__doc__, {"waiting": 10_000, "stored": 1_000_000, "all": 100_000, "sellers": 1_000}).parse_args(), measure)


if __name__ == "__main__":
    main()
