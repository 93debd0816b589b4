"""Fires at a server for a while: `make fuzz MINUTES=5 SEED=1`. At the first message that it does not take well, the bytes are shown."""

import argparse
import asyncio
import resource
import tempfile
import time
from pathlib import Path

import structlog

from fuzz.target import COSTLY, METHODS, Finding, contents, target

ROUND = 50
"""Messages for a call before the next is tried; of costly ones, one."""
MOST_GROWTH_MIB = 300
"""How much the process may grow after the first tenth of the time."""


def _grown_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def _fire(minutes: float, seed: int) -> None:
    began, sent, early_mib = time.monotonic(), 0, 0.0
    with tempfile.TemporaryDirectory(prefix="reallot-fuzz-") as folder:
        async with target(Path(folder)) as server:
            while (spent := time.monotonic() - began) < minutes * 60:
                for path, method in METHODS.items():
                    for number in range(1 if path in COSTLY else ROUND):
                        await server.send(path, contents(method, seed * 1_000_000_007 + sent + number, server.good))
                        sent += 1
                await server.is_well()
                early_mib = early_mib if spent > minutes * 6 else _grown_mib()
                print(f"{sent:,} messages in {spent:,.0f} s, {_grown_mib():,.0f} MiB", flush=True)
    grown = _grown_mib() - early_mib
    assert grown <= MOST_GROWTH_MIB, f"the process grew by {grown:,.0f} MiB"


def main() -> None:
    """Fire as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    try:
        asyncio.run(_fire(given.minutes, given.seed))
    except Finding as found:
        raise SystemExit(str(found)) from None


if __name__ == "__main__":
    main()
