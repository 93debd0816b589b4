"""The faults that a siege does to its servers; each is undone, or the server started again, before it ends."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

from chaos.siege import Siege
from e2e.servers import Server

LEASE_S = 3.0
"""A holder that is silent for longer loses its lease."""
Fault = Callable[[Siege, Server], Awaitable[None]]


def weather_file(folder: Path, server: Server) -> Path:
    """Return the file from which a server's process reads how wrong its clock and how slow its disk is."""
    return folder / f"weather-{server.port}"


def set_weather(folder: Path, server: Server, *, clock_s: float = 0.0, disk_s: float = 0.0) -> None:
    """Move a server's clock and slow down its disk."""
    path, content = weather_file(folder, server), struct.pack("qq", int(clock_s * 1e9), int(disk_s * 1e9))
    # Written in place: the process has the file mapped.
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(content)


async def kill(siege: Siege, server: Server) -> None:
    """kill -9 at this moment; it is started again, while the others go on."""
    await siege.kill(server)
    await siege.work(siege.rng.uniform(0, 1) if len(siege.servers) > 1 else 0)
    await siege.start_servers()


async def pause(siege: Siege, server: Server) -> None:
    """Stop the process for longer than its lease lasts, and wake it."""
    siege.pause(server)
    try:
        await siege.work(LEASE_S + siege.rng.uniform(0.5, 3))
    finally:
        siege.wake(server)
    await siege.work(0.5)


async def cut(siege: Siege, server: Server) -> None:
    """Cut the server off from its database for a while."""
    proxy = siege.proxies[server]
    await asyncio.to_thread(proxy.cut)
    await siege.work(siege.rng.uniform(0.05, 3))
    await asyncio.to_thread(proxy.mend)
    await siege.work(0.5)


async def slow_down(siege: Siege, server: Server) -> None:
    """Make the server's database slow for a while."""
    delay_s = siege.rng.uniform(0.02, 0.1)
    if server in siege.proxies:
        await asyncio.to_thread(siege.proxies[server].slow, delay_s)
        await siege.work(3)
        await asyncio.to_thread(siege.proxies[server].mend)
    else:
        set_weather(siege.folder, server, disk_s=delay_s)
        await siege.work(3)
        set_weather(siege.folder, server)


async def jump(siege: Siege, server: Server) -> None:
    """Let the server's clock jump, forth or back, and keep it there for a while."""
    set_weather(siege.folder, server, clock_s=siege.rng.uniform(-600, 600))
    await siege.work(2)
    set_weather(siege.folder, server)
    await siege.work(0.5)


ON_SQLITE: dict[str, Fault] = {"kill": kill, "slow disk": slow_down, "clock jump": jump}
ON_POSTGRESQL: dict[str, Fault] = {"kill": kill, "pause": pause, "cut off": cut, "slow database": slow_down, "clock jump": jump}
EVERY_OTHER = 5
"""One in so many faults is another than a kill."""


async def strike(siege: Siege, faults: dict[str, Fault]) -> str:
    """Let the clients work until a random moment, do a random fault, and return what was done to whom."""
    await siege.work(siege.rng.uniform(0.1, 2.5))
    others = [name for name in faults if name != "kill"]
    name = siege.rng.choice(others) if siege.rng.randrange(EVERY_OTHER) == 0 else "kill"
    holder = siege.holder()
    server = holder if siege.rng.random() < 0.7 else siege.rng.choice(list(siege.servers))
    await faults[name](siege, server)
    return f"{name} {'holder' if server is holder else 'other'}" if len(siege.servers) > 1 else name
