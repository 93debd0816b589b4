"""What every benchmark prints: JSON lines of figures, promises beside them, and the machine they come from."""

import argparse
import json
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.databases import Databases, open_databases

PACKAGES = ("grpcio", "protobuf", "psycopg", "sqlalchemy", "ortools", "polars", "numpy")


@dataclass(frozen=True)
class Promise:
    """A figure and what it is held to.

    Attributes:
        name: What is measured, with its unit.
        measured: The figure of this run.
        must_hold: The bound it must keep; None = it is only told.
        aim: The bound it should reach.
        at_most: The bounds are upper ones; else lower ones.
    """

    name: str
    measured: float
    must_hold: float | None
    aim: float | None = None
    at_most: bool = False

    def shown(self) -> dict[str, Any]:
        """Return what is printed."""
        return {
            "name": self.name,
            "measured": self.measured,
            "must_hold": self.must_hold,
            "aim": self.aim,
            "bound": "at most" if self.at_most else "at least",
            "holds": self._keeps(self.must_hold),
            "reaches_aim": self._keeps(self.aim),
        }

    def _keeps(self, bound: float | None) -> bool | None:
        if bound is None:
            return None
        return self.measured <= bound if self.at_most else self.measured >= bound


def percentile_ms(seconds: Sequence[float], share: float) -> float:
    """Return a percentile in milliseconds; 0 for nothing."""
    ordered = sorted(seconds)
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1e3, 2) if ordered else 0.0


def machine() -> dict[str, Any]:
    """Return what the figures depend on besides the program; `load` is the machine's average of the last minute, before the run."""
    cpu = ""
    if (info := Path("/proc/cpuinfo")).exists():
        cpu = next((line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")), "")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def tell(benchmark: str, engine: str, figures: dict[str, Any], promises: Sequence[Promise] = ()) -> None:
    """Print one line of figures."""
    line = {"benchmark": benchmark, "engine": engine, **figures, "promises": [promise.shown() for promise in promises]}
    print(json.dumps(line), flush=True)


def arguments(description: str | None, defaults: dict[str, int]) -> argparse.ArgumentParser:
    """Return a parser of what all benchmarks take, and of whole numbers with their defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--database", default="", help="a PostgreSQL server on which databases may be made; default: one of its own")
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser


def run(given: argparse.Namespace, measure: Callable[[argparse.Namespace, Databases], None]) -> None:
    """Print the machine's facts, then measure with databases of the engine that was asked for."""
    print(json.dumps({"machine": machine()}), flush=True)
    opened: AbstractContextManager[Databases] = open_databases(given.engine, given.database)
    with opened as databases:
        measure(given, databases)
