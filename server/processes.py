"""A process of the server's own, at the other end of a pipe: started when it is needed, killed when its work is not."""

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


class PipedProcess:
    """A spawned process and its pipe. `main` gets the pipe's other end and `arguments`; it should end when the pipe does.

    Attributes:
        starts: How often it was started.
    """

    def __init__(self, main: Callable[..., None], *arguments: Any, name: str) -> None:
        self._main, self._arguments, self._name = main, arguments, name
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        self._pipe: Connection | None = None
        # A start goes on in its thread when its task is cancelled; the next must not start beside it.
        self._starting = threading.Lock()
        self.starts = 0

    @property
    def process_id(self) -> int | None:
        """Number of the process; None while there is none."""
        return self._process.pid if self._process is not None else None

    async def started(self) -> Connection:
        """Return the pipe, once the process is there."""
        return await asyncio.to_thread(self._ensure)

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _ensure(self) -> Connection:
        with self._starting:
            if self._pipe is None or not self._process.is_alive():
                self.kill()
                ours, theirs = self._context.Pipe()
                self._process = self._context.Process(target=self._main, args=(theirs, *self._arguments), daemon=True, name=self._name)
                self._process.start()
                self.starts += 1
                theirs.close()
                self._pipe = ours
            return self._pipe


async def readable(pipe: Connection) -> None:
    """Return when there is something to read, or the pipe has ended."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    descriptor = pipe.fileno()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, tell)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
        # uvloop leaves a descriptor that it watched non-blocking; a long message would then be read only in part.
        os.set_blocking(descriptor, True)
