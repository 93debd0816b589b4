"""Arrow bytes of callers, read in a process of their own: the library trusts the sizes in them, and ends its process over wrong ones.

What comes back was written by the same library, and is read here.
"""

import asyncio
import io
import multiprocessing
import resource
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any

import grpc
import polars as pl

from reallot.server.errors import ApiError, invalid_field

PATIENCE_S = 30.0
"""How long a batch may take to be read; one of the largest message takes a tenth of a second."""
MOST_MEMORY = 4 << 30
"""Address space of the reading process: what claims to unpack to more is refused."""
_READY, _TABLE, _FAULT = b"r", b"t", b"f"


def _main(pipe: Connection) -> None:
    """Read what comes until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    pipe.send_bytes(_READY)
    while True:
        try:
            data = pipe.recv_bytes()
        except EOFError:
            return
        try:
            answer = _TABLE + _rewritten(data)
        except (pl.exceptions.PolarsError, OSError, ValueError, pl.exceptions.PanicException) as error:
            answer = _FAULT + str(error).split("\n")[0].encode()
        pipe.send_bytes(answer)


def _rewritten(data: bytes) -> bytes:
    written = io.BytesIO()
    pl.read_ipc_stream(io.BytesIO(data)).write_ipc_stream(written)
    return written.getvalue()


class ArrowReader:
    """Reads Arrow IPC streams, one at a time; its process is started when it is first needed. Thread-safe but for `read`."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        self._pipe: Connection | None = None
        self._busy = threading.Lock()

    async def read(self, data: bytes, field: str) -> pl.DataFrame:
        """Return a stream's rows as a table.

        Raises:
            ApiError: it is no Arrow IPC stream; `field` is named.
        """
        answer = await asyncio.to_thread(self._ask, data)
        if answer is None:
            raise invalid_field(field, "it cannot be read as an Arrow IPC stream: reading it came to no end")
        if answer[:1] == _FAULT:
            raise invalid_field(field, f"it cannot be read as an Arrow IPC stream: {answer[1:].decode()}")
        return await asyncio.to_thread(pl.read_ipc_stream, io.BytesIO(answer[1:]))

    def close(self) -> None:
        """End the process."""
        with self._busy:
            self._kill()

    def _ask(self, data: bytes) -> bytes | None:
        """Return what the process answers; None if it ends over it twice, so that it is the bytes' doing."""
        with self._busy:
            for _ in range(2):
                pipe = self._ensure()
                try:
                    pipe.send_bytes(data)
                    if pipe.poll(PATIENCE_S):
                        return pipe.recv_bytes()
                except (EOFError, OSError):
                    pass
                self._kill()
            return None

    def _ensure(self) -> Connection:
        if self._pipe is None or not self._process.is_alive():
            self._kill()
            ours, theirs = self._context.Pipe()
            self._process = self._context.Process(target=_main, args=(theirs,), daemon=True, name="reallot-arrow")
            self._process.start()
            theirs.close()
            self._pipe = ours
            if not ours.poll(PATIENCE_S) or ours.recv_bytes() != _READY:
                self._kill()
                text = "the process that reads Arrow bytes does not start"
                raise ApiError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER_BUSY", text, metadata={"limit": "arrow"}, retry_after_s=PATIENCE_S
                )
        return self._pipe

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
