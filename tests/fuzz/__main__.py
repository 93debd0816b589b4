"""Fires at a server for a while: `make fuzz MINUTES=5 SEED=1`. At the first message that it does not take well, the bytes are shown.

First messages that Hypothesis makes from the descriptors, and reduces when one fails; then good ones with changed bytes or fields.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from google.protobuf.message import Message
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from e2e.servers import Server, server
from fuzz.messages import messages
from fuzz.target import COSTLY, METHODS, Finding, Target, aimed_at, contents

GENERATED, MUTATED = 10_000, 200_000
"""How many are meant to be sent, as far as the time allows."""
PORTION = 250
"""Messages that Hypothesis makes before the clock is looked at."""
SELDOM = 40
"""How much more often than costly calls others are made."""
ROUND = 100
"""Messages for a call before the next is tried; of costly ones, one."""
MOST_GROWTH_MIB = 300
"""How much the server may grow after the first tenth of what is sent."""


class Guns:
    """Sends, counts, and looks how the server stands it."""

    def __init__(self, process: Server, target: Target, until_s: float) -> None:
        self.target = target
        self._process, self._until_s, self._began_s = process, until_s, time.monotonic()
        self.sent = 0
        self._early_mib = 0.0

    @property
    def has_time(self) -> bool:
        return time.monotonic() < self._until_s

    async def look(self, kind: str, *, early: bool = False) -> None:
        """Fail unless the server is well and no larger than it should be."""
        await self.target.is_well()
        mib = _resident_mib(self._process.process_id)
        if early or not self._early_mib:
            self._early_mib = mib
        assert mib - self._early_mib <= MOST_GROWTH_MIB, f"the server grew from {self._early_mib:,.0f} to {mib:,.0f} MiB"
        print(f"{self.sent:,} {kind} messages, {time.monotonic() - self._began_s:,.0f} s, {mib:,.0f} MiB", flush=True)


def _resident_mib(process_id: int) -> float:
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) / 1024


async def _fire_mutated(guns: Guns, most: int, start: int) -> None:
    while guns.sent < most and guns.has_time:
        for path, method in METHODS.items():
            count = 1 if path in COSTLY else ROUND
            seeds = range(start + guns.sent, start + guns.sent + count)
            guns.sent += await guns.target.fire(path, [contents(method, seed, guns.target.good) for seed in seeds])
        await guns.look("mutated", early=guns.sent <= most / 10)


async def _fire_generated(guns: Guns, most: int, start: int) -> None:
    """Have Hypothesis, in a thread of its own, make messages; calls are made on this loop."""
    loop = asyncio.get_running_loop()
    often = sorted(METHODS.keys() - COSTLY) * SELDOM + sorted(COSTLY)

    @settings(max_examples=PORTION, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(often).flatmap(lambda path: st.tuples(st.just(path), messages(METHODS[path].input_type))))
    def fire(made: tuple[str, Message]) -> None:
        path, message = made
        asyncio.run_coroutine_threadsafe(guns.target.send(path, message.SerializeToString()), loop).result()
        guns.sent += 1

    while guns.sent < most and guns.has_time:
        await asyncio.to_thread(seed(start + guns.sent)(fire))
    await guns.look("generated")


async def _fire(process: Server, minutes: float, start: int) -> None:
    began = time.monotonic()
    async with aimed_at(process.address) as target:
        first = Guns(process, target, began + minutes * 20)
        await _fire_generated(first, GENERATED, start)
        second = Guns(process, target, began + minutes * 60)
        await _fire_mutated(second, MUTATED, start * 1_000_000_007)
    told = f"{first.sent:,} generated and {second.sent:,} mutated messages to {len(METHODS)} calls: none made the server fail"
    short = first.sent < GENERATED or second.sent < MUTATED
    print(f"{told}; the time was up before {GENERATED:,} and {MUTATED:,}" if short else told)


def main() -> None:
    """Fire as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    given_ = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reallot-fuzz-") as folder:
        settings_ = Path(folder) / "fuzz.toml"
        settings_.write_text("most_segments = 100\nsolve_time_limit_s = 20\n")
        with server(f"sqlite:///{folder}/fuzz.sqlite", "--config", str(settings_)) as process:
            try:
                asyncio.run(_fire(process, given_.minutes, given_.seed))
            except* Finding as found:
                raise SystemExit("\n".join(str(error) for error in _each(found))) from None


def _each(found: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [one for error in found.exceptions for one in (_each(error) if isinstance(error, BaseExceptionGroup) else [error])]


if __name__ == "__main__":
    main()
