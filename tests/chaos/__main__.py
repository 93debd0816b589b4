"""`make chaos`: long fault tests with audits, and a soak. Exit code 1 if the auditor found anything or the soak was not flat."""

import argparse
import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaos import soak
from chaos.faults import ON_POSTGRESQL, ON_SQLITE, strike
from chaos.findings import Report
from chaos.siege import Siege
from support.postgres import fresh_postgresql

REPLICAS = 3
SHOWN = ("events", "records", "binding assignments", "accepted requests", "messages to followers", "effects")


def arguments_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="chaos", description="Servers under siege: killed, paused, cut off, slowed down; audited.")
    parser.add_argument("--engine", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--kills", type=int, default=200, help="faults for each engine; most are kill -9")
    parser.add_argument("--audit-every", type=int, default=10, help="faults between two audits")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--soak-minutes", type=float, default=0, help="minutes without faults, in which nothing may grow")
    parser.add_argument("--json", action="store_true", help="JSON lines")
    return parser.parse_args(arguments)


class Shown:
    """Writes progress, for people or for programs."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def line(self, text: str, **keys: Any) -> None:
        """Write one line."""
        print(json.dumps(keys) if self._as_json else text, flush=True)

    def audit(self, report: Report, **keys: Any) -> None:
        """Write what an audit looked at and found."""
        looked = ", ".join(f"{report.checked[what]:,} {what}" for what in SHOWN)
        self.line(f"  audited {looked}: {len(report.findings)} findings", **keys, **report.as_json())
        for finding in report.findings if not self._as_json else []:
            print(f"    {finding}")


async def besiege(engine: str, given: argparse.Namespace, shown: Shown) -> Report:
    """Do all faults on one engine; return the last audit, or the first that found something."""
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{engine}-"))
    url, faults = (f"sqlite:///{folder / 'office.sqlite'}", ON_SQLITE) if engine == "sqlite" else (fresh_postgresql(), ON_POSTGRESQL)
    report, done, started = Report(), Counter[str](), time.monotonic()
    async with Siege(url, folder, 1 if engine == "sqlite" else REPLICAS, seed=given.seed) as siege:
        for number in range(1, given.kills + 1):
            what = await strike(siege, faults)
            done[what] += 1
            text = f"{engine} {number}/{given.kills} seed {given.seed} {time.monotonic() - started:.0f} s: {what}"
            shown.line(text, engine=engine, number=number, fault=what)
            if number % given.audit_every == 0 or number == given.kills:
                report = await siege.audit()
                shown.audit(report, engine=engine, number=number)
            if report.findings:
                break
        if given.soak_minutes and not report.findings:
            flat = await soak.soak(siege, given.soak_minutes * 60, shown.line)
            report = await siege.audit()
            shown.audit(report, engine=engine, number="soak")
            report.findings += flat
        siege.dump(report)
    _table(engine, done, report, folder, given)
    if not report.findings:
        _remove(folder)
    return report


def _remove(folder: Path) -> None:
    """Remove a folder in which a process that was left behind may still be closing its database."""
    while folder.exists():
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)


def _table(engine: str, done: Counter[str], report: Report, folder: Path, given: argparse.Namespace) -> None:
    if given.json:
        print(json.dumps({"engine": engine, "faults": done, **report.as_json()}), flush=True)
        return
    print(f"\n{engine}, seed {given.seed}")
    for what, number in [*sorted(done.items()), *sorted(report.checked.items())]:
        print(f"{number:>12,}  {what}")
    print(f"{len(report.findings):>12,}  findings" + (f"; the history is in {folder}" if report.findings else ""), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    given = arguments_of(arguments)
    engines = ["sqlite", "postgresql"] if given.engine == "both" else [given.engine]
    reports = [asyncio.run(besiege(engine, given, Shown(as_json=given.json))) for engine in engines]
    return 1 if any(report.findings for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
