"""The auditor: proves from the database and the clients' journals that nothing was lost, doubled, given away twice or told wrongly.

It shares no code with the server, so that a fault cannot hide behind itself. Run from the repository's root:

    PYTHONPATH=tests python -m chaos.auditor --database URL [--workspace ID] [--settled] [--json] --journal FILE…

Exit code 0 = nothing found, 1 = findings, one a line, 2 = it could not look.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from chaos import capacity_checks, client_checks, log_checks, window_checks
from chaos.books import Books, open_books
from chaos.findings import Report

CHECKS: tuple[Callable[[Books, Report], None], ...] = (
    log_checks.check_numbers,
    log_checks.check_states,
    log_checks.check_decisions,
    log_checks.check_notices,
    capacity_checks.check_loads,
    capacity_checks.check_maxima,
    window_checks.check_windows,
    capacity_checks.check_turns,
    capacity_checks.check_enrollments,
    capacity_checks.check_rest,
    client_checks.check_answers,
    client_checks.check_writes,
    client_checks.check_deeds,
    client_checks.check_runs,
    client_checks.check_sellers,
    client_checks.check_followers,
)


def audit(url: str, journals: Sequence[Path], workspace: str = "default", *, settled: bool = False) -> Report:
    """Look at everything and return what was found. With `settled`, nothing may be under way any more."""
    books, report = open_books(url, journals, workspace, settled=settled), Report()
    for check in CHECKS:
        check(books, report)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(prog="auditor", description="Prove a history of Reallot from its database and its clients' journals.")
    parser.add_argument("--database", required=True, help="SQLAlchemy URL of the database")
    parser.add_argument("--journal", nargs="*", default=[], type=Path, help="journals of clients")
    parser.add_argument("--workspace", default="default")
    parser.add_argument("--settled", action="store_true", help="nothing is under way: no mark, no run, no follower behind")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    given = parser.parse_args(arguments)
    try:
        report = audit(given.database, given.journal, given.workspace, settled=given.settled)
    except (OSError, SQLAlchemyError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.json:
        print(json.dumps(report.as_json()))
    else:
        for what, number in sorted(report.checked.items()):
            print(f"checked {number:>9,} {what}")
        for finding in report.findings:
            print(finding)
        print(f"{len(report.findings)} findings")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
