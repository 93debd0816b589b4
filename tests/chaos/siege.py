"""A siege: writers and followers at work on servers that are killed, paused and cut off, and audits in between."""

import asyncio
import json
import os
import random
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos import office
from chaos.auditor import audit
from chaos.findings import Kind, Report
from chaos.followers import Follower
from chaos.journal import Journal
from chaos.link import Link, Look, Stubs
from chaos.proxy import Proxy
from chaos.writers import Writer
from e2e.servers import Server
from reallot.clients.bundle import parse_bundle

POLL_S = 0.05
PATIENCE_S = 90.0
STABLE_LOOKS = 3
"""So often in a row nothing is found to be under way before that is believed."""
INJECTED = Path(__file__).parent / "injected"


def _set_environment(folder: Path) -> Callable[[], None]:
    """Let server processes load what moves their clocks; return what undoes that."""
    names = {"CHAOS_FOLDER": str(folder), "PYTHONPATH": os.pathsep.join([str(INJECTED), os.environ.get("PYTHONPATH", "")])}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)

    def undo() -> None:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

    return undo


@dataclass
class Siege:
    """Servers on one database with their clients. Everything that is chosen comes from the seed; what then happens does not."""

    url: str
    folder: Path
    replicas: int = 1
    seed: int = 1
    writers: int = 4
    followers: int = 20
    servers: list[Server] = field(init=False)
    proxies: dict[Server, Proxy] = field(default_factory=dict)
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.journals = [self.folder / name for name in ("requests.jsonl", "heard.jsonl")]
        self._gate = asyncio.Event()
        self._stack = ExitStack()
        self._pool = self._stack.enter_context(ThreadPoolExecutor())
        self._asked, self._heard = (self._stack.enter_context(Journal(path)) for path in self.journals)
        self.look = Look(self.url)
        self._stack.callback(self.look.close)
        self._stack.callback(_set_environment(self.folder))
        self.servers = [self._server() for _ in range(self.replicas)]
        self._stubs: list[Stubs] = []
        self._writers: list[Writer] = []
        self._followers: list[Follower] = []
        self._tasks: list[asyncio.Task[None]] = []

    def _server(self) -> Server:
        proxy = None
        if not self.url.startswith("sqlite"):
            proxy = Proxy(self.url)
            self._stack.callback(proxy.close)
        server = Server(proxy.url if proxy else self.url, log=self.folder / "servers.log")
        (self.folder / f"weather-{server.port}").write_bytes(bytes(16))
        if proxy:
            self.proxies[server] = proxy
        return server

    async def __aenter__(self) -> "Siege":
        try:
            await self._begin()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _begin(self) -> None:
        await self.start_servers()
        self._stubs = [Stubs(server.address) for server in self.servers]
        setup = Writer(Link("x0", self._stubs, self._asked, self.look), "", self._gate)
        await setup.configure(office.configuration())
        await setup.write_capacities(office.sellers())
        self._operator = setup
        sellers = sorted(office.sellers())
        for number in range(self.followers):
            seller = sellers[number // 4] if number % 4 == 3 else ""
            self._followers.append(Follower(number, self._stubs, self._heard, f"{self.seed}/f{number}", seller))
        self._writers = [
            Writer(Link(f"w{number}", self._stubs, self._asked, self.look, number), f"{self.seed}/w{number}", self._gate)
            for number in range(self.writers)
        ]
        self._tasks = [asyncio.create_task(follower.follow()) for follower in self._followers]
        await self._watched(asyncio.gather(*(follower.begun.wait() for follower in self._followers)))
        self._tasks += [asyncio.create_task(writer.work()) for writer in self._writers]

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stubs in self._stubs:
            await stubs.channel.close()
        for server in self.servers:
            server.end()
        self._stack.close()

    async def _watched(self, wanted: Awaitable[Any]) -> None:
        """Wait for something, or for a client that failed.

        Raises:
            Exception: what the client failed with.
        """
        waiting = asyncio.ensure_future(wanted)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks:
            if task.done():
                waiting.cancel()
                task.result()
        await waiting

    async def _until(self, holds: Callable[[], bool]) -> None:
        async def wait() -> None:
            while not holds():
                await asyncio.sleep(POLL_S)

        await self._watched(wait())

    async def work(self, seconds: float) -> None:
        """Let the clients work for a while."""
        self._gate.set()
        await self._watched(asyncio.sleep(seconds))

    async def start_servers(self) -> None:
        """Start the servers that do not run, side by side."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._pool, server.start) for server in self.servers if not server.is_running))

    async def kill(self, server: Server) -> None:
        """kill -9."""
        await asyncio.get_running_loop().run_in_executor(self._pool, server.kill)

    @property
    def followers_connected(self) -> int:
        """How many followers hear a server now."""
        return sum(follower.connected for follower in self._followers)

    def pause(self, server: Server) -> None:
        """SIGSTOP the server's process."""
        os.kill(server.process_id, signal.SIGSTOP)

    def wake(self, server: Server) -> None:
        """SIGCONT the server's process."""
        os.kill(server.process_id, signal.SIGCONT)

    def holder(self) -> Server:
        """Return the server that works the workspace; the first one where there are no leases."""
        if len(self.servers) > 1:
            address = self.look.text("SELECT address FROM replicas JOIN leases ON holder = replica_id WHERE workspace = 'default'")
            for server in self.servers:
                if server.address == address:
                    return server
        return self.servers[0]

    async def settle(self) -> str:
        """Stop the writers, and wait until nothing is under way and every follower has heard the end of the log.

        Return what still is under way after a long time; "" = nothing, as it should be.
        """
        self._gate.clear()
        await self._watched(asyncio.gather(*(writer.idle.wait() for writer in self._writers)))
        await self._operator.configure(parse_bundle({"schedules": [office.schedule(paused=True)]})[0])
        try:
            await self._until(self._stillness())
            # The first sign of life may have been on its way already; the second one was sent after the last event.
            seen = [follower.heartbeats for follower in self._followers]
            await self._until(lambda: all(f.heartbeats >= n + 2 for f, n in zip(self._followers, seen, strict=True)))
        except TimeoutError:
            return (
                f"after {PATIENCE_S:.0f} s {self.followers_connected} of {self.followers} followers hear, and left are {self.look.left()}"
            )
        finally:
            self._asked.flush()
            self._heard.flush()
        return ""

    def _stillness(self) -> Callable[[], bool]:
        """Return a question that is answered with yes once nothing was under way for a few looks."""
        quiet, position = 0, -1

        def still() -> bool:
            nonlocal quiet, position
            before, position = position, self.look.position()
            quiet = quiet + 1 if self.look.busy() == 0 and before == position else 0
            return quiet >= STABLE_LOOKS

        return still

    async def audit(self) -> Report:
        """Settle, audit, and let the writers go on."""
        left = await self.settle()
        loop = asyncio.get_running_loop()
        report = await loop.run_in_executor(self._pool, lambda: audit(self.url, self.journals, settled=True))
        if left:
            report.add(Kind.NOT_SETTLED, "servers", left)
        await self._operator.configure(parse_bundle({"schedules": [office.schedule()]})[0])
        self._gate.set()
        return report

    def dump(self, report: Report) -> Path:
        """Write a report beside the journals and return where."""
        path = self.folder / "report.json"
        path.write_text(json.dumps(report.as_json(), indent=1))
        return path
