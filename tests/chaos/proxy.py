"""A TCP proxy between a server and PostgreSQL, which can be cut or slowed down."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from sqlalchemy.engine import make_url

BLOCK = 64 * 1024


class Proxy:
    """Passes bytes on, on a thread and a loop of its own. `url` is that of the same database through the proxy."""

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refuses = False
        self._delay_s = 0.0
        self._server = self._run(self._listen())
        port = self._server.sockets[0].getsockname()[1]
        self.url = self._target.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        there, back = await self._reach()
        self._writers |= {writer, back}
        ways = [asyncio.create_task(self._pass(*way)) for way in ((reader, back), (there, writer))]
        self._tasks.update(ways)
        await asyncio.wait(ways)
        self._tasks.difference_update(ways)
        self._writers -= {writer, back}

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        folder = self._target.query.get("host")
        if isinstance(folder, str):
            return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{self._target.port or 5432}")
        return await asyncio.open_connection(self._target.host, self._target.port or 5432)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while block := await reader.read(BLOCK):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                writer.write(block)
                await writer.drain()
        except ConnectionError:
            # One of the two sides is gone: the other one is told by the end of its connection.
            writer.transport.abort()
        writer.close()

    async def _set(self, *, refuses: bool, delay_s: float) -> None:
        self._refuses, self._delay_s = refuses, delay_s
        if refuses:
            for writer in self._writers:
                writer.transport.abort()

    def cut(self) -> None:
        """End all connections, and take no new ones."""
        self._run(self._set(refuses=True, delay_s=0.0))

    def slow(self, delay_s: float) -> None:
        """Pass everything on, each piece so much later."""
        self._run(self._set(refuses=False, delay_s=delay_s))

    def mend(self) -> None:
        """Pass everything on at once."""
        self._run(self._set(refuses=False, delay_s=0.0))

    async def _end(self) -> None:
        self._server.close()
        await self._set(refuses=True, delay_s=0.0)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """End all connections and the thread."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
