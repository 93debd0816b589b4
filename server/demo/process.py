"""A server process of the demonstration's own: a free port, a fresh database, a clock that is moved by hand."""

import subprocess  # nosec B404 # see its use below
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

START_PATIENCE_S = 60.0
STOP_PATIENCE_S = 15.0


class ServerDidNotStart(RuntimeError):
    """The server process ended, or said nothing, before it listened."""


@contextmanager
def server_process(start: datetime, database_url: str = "") -> Iterator[str]:
    """Run a real server whose clock begins at `start`; give its address, and stop it in the end.

    Without a URL it has a fresh SQLite file, which is removed in the end.

    Raises:
        ServerDidNotStart: it did not come up.
    """
    with tempfile.TemporaryDirectory(prefix="reallot-demo-") as folder:
        url = database_url or f"sqlite:///{Path(folder) / 'demo.sqlite'}"
        command = [sys.executable, "-c", "from reallot.clients.cli import main; main()", "serve"]
        command += ["--port", "0", "--database-url", url, "--log-level", "error"]
        command += ["--clock", f"manual:{start:%Y-%m-%dT%H:%M:%SZ}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # nosec B603 # no shell; this interpreter and options of our own
            try:
                yield _address(process)
            finally:
                process.terminate()
                try:
                    process.wait(STOP_PATIENCE_S)
                except subprocess.TimeoutExpired:
                    process.kill()


def _address(process: "subprocess.Popen[str]") -> str:
    """Return the address that the server says it listens on."""
    watchdog = threading.Timer(START_PATIENCE_S, process.kill)
    watchdog.start()
    try:
        for line in process.stdout or ():
            if line.startswith("listening on "):
                return line.split()[2]
    finally:
        watchdog.cancel()
    raise ServerDidNotStart(f"the server ended with {process.wait()} before it listened")
