"""A soak: the clients at work, nothing breaks, and nothing may grow: memory, open files, threads of the server processes."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from chaos.findings import Finding, Kind
from chaos.siege import Siege

SAMPLES = 60
MEMORY_SHARE, MEMORY_MIB, HANDLES = 0.05, 12.0, 8
"""What the last third may lie above the middle one: memory by a share and so much, open files and threads by a few."""


@dataclass(frozen=True)
class Sample:
    """One look at all server processes with their workers, and at the followers that are connected."""

    second: int
    memory_mib: float
    files: int
    threads: int
    followers: int


def processes(roots: list[int]) -> list[int]:
    """Return processes with all their descendants."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # It has ended since the folder was listed.
        children.setdefault(parent, []).append(int(path.parent.name))
    found = list(roots)
    for process in found:
        found.extend(children.get(process, ()))
    return found


def sample(siege: Siege, second: int) -> Sample:
    """Look at the servers of a siege."""
    memory_kib = files = threads = 0
    for process in processes([server.process_id for server in siege.servers]):
        try:
            lines = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
            files += len(list(Path(f"/proc/{process}/fd").iterdir()))
        except OSError:
            continue  # A worker that was replaced.
        memory_kib += int(lines.get("VmRSS", "0 kB").split()[0])
        threads += int(lines["Threads"])
    return Sample(second, round(memory_kib / 1_024, 1), files, threads, siege.followers_connected)


async def soak(siege: Siege, seconds: float, show: Callable[..., None]) -> list[Finding]:
    """Let the clients work for so long, show the series, and return what has grown."""
    series: list[Sample] = []
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        await siege.work(seconds / SAMPLES)
        series.append(sample(siege, round(time.monotonic() - started)))
        now = series[-1]
        text = (
            f"soak {now.second:>5} s {now.memory_mib:>8.1f} MiB {now.files:>5} files {now.threads:>4} threads {now.followers:>3} followers"
        )
        show(text, **asdict(now))
    return verdict(series)


def verdict(series: list[Sample]) -> list[Finding]:
    """Compare the last third of a series with the middle one; the first third is warming up."""
    third = max(len(series) // 3, 1)
    middle, last = series[third : 2 * third], series[-third:]
    found = []
    for name in ("memory_mib", "files", "threads"):
        before, after = (statistics.median(getattr(s, name) for s in part) for part in (middle or series, last))
        allowed = MEMORY_SHARE * before + MEMORY_MIB if name == "memory_mib" else HANDLES
        if after - before > allowed:
            found.append(Finding(Kind.GROWTH, name, f"from {before} in the middle third to {after} in the last"))
    return found
