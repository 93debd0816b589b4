"""A server process under measurement: its address and its memory."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

COMMAND = [sys.executable, "-c", "from reallot.clients.cli import main; main()"]
START_PATIENCE_S, STOP_PATIENCE_S = 60.0, 60.0


class Process:
    """A process that listens on a free port, from entering to leaving the context; it says so in its first line.

    Attributes:
        address: Where it listens.
    """

    def __init__(self, *command: str) -> None:
        self._command = command
        self.address = ""

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            RuntimeError: it ended before it listened.
        """
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        watchdog = threading.Timer(START_PATIENCE_S, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline() if self._process.stdout else ""
        watchdog.cancel()
        if not line.startswith("listening on "):
            raise RuntimeError(f"the server ended with {self._process.wait()} before it listened")
        self.address = line.split()[2]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop it, and wait for its end."""
        self._process.terminate()
        try:
            self._process.wait(STOP_PATIENCE_S)
        finally:
            self._process.kill()
            self._process.wait()
            if self._process.stdout:
                self._process.stdout.close()

    @property
    def process_id(self) -> int:
        """The process, for profilers."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Return the processor time that the process has used so far, without its children; 0 where /proc does not tell."""
        if not (stat := Path(f"/proc/{self.process_id}/stat")).exists():
            return 0.0
        user, system = stat.read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def peak_mib(self) -> dict[str, float]:
        """Return the most memory so far of the server and of each of its processes, in MiB; empty where /proc does not tell."""
        if not Path("/proc/self/status").exists():
            return {}
        peaks = sorted((_peak_mib(child) for child in _children(self.process_id)), reverse=True)
        return {"server": _peak_mib(self.process_id)} | {f"worker_{n}": peak for n, peak in enumerate(peaks, 1)}


class ServerProcess(Process):
    """A server of its own."""

    def __init__(self, url: str, *options: str) -> None:
        super().__init__(*COMMAND, "serve", "--port", "0", "--database-url", url, "--log-level", "error", *options)


def _children(process_id: int) -> list[int]:
    tasks = Path(f"/proc/{process_id}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def _peak_mib(process_id: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process_id}/status").read_text())
    return round(int(found[1]) / 1024, 1) if found else 0.0
