"""Real server processes on a database of their own: started, killed, started again."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

COMMAND = [sys.executable, "-c", "from reallot.clients.cli import main; main()"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server process at a time, always on the same port and database. What it says on stderr goes to `log`, where one is given."""

    def __init__(self, url: str, *options: str, log: Path | None = None) -> None:
        self.url = url
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._options = options
        self._log = log
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [*COMMAND, "serve", "--port", str(self.port), "--database-url", self.url, "--log-level", "error", *self._options]
        with ExitStack() as stack:
            log = stack.enter_context(self._log.open("a")) if self._log else None
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self._process.stdout.readline() if self._process.stdout else ""
        assert line.startswith("listening on"), line

    def kill(self) -> None:
        """kill -9, workers and all: they notice the end of their pipe by themselves."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._close()

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def process_id(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.ended()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process_id, number)

    def ended(self) -> int:
        """Wait for the end of the process and return its exit code."""
        assert self._process is not None
        code = self._process.wait(30)
        self._close()
        return code

    def _close(self) -> None:
        if self._process is not None:
            self._process.wait(30)
            if self._process.stdout:
                self._process.stdout.close()
            self._process = None

    def end(self) -> None:
        if self._process is not None:
            self.kill()


@contextmanager
def server(url: str, *options: str) -> Iterator[Server]:
    made = Server(url, *options)
    made.start()
    try:
        yield made
    finally:
        made.end()


def reallot(*arguments: str, address: str = "", timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run the command line and return how it ended."""
    environment = os.environ | ({"REALLOT_ADDRESS": address} if address else {})
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=timeout, env=environment, check=False)
