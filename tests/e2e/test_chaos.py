"""While servers are killed, paused and cut off, with writers and followers at work, nothing is lost: the short form of `make chaos`."""

import asyncio
from pathlib import Path

import pytest

from chaos.faults import ON_POSTGRESQL, ON_SQLITE, weather_file
from chaos.siege import Siege

CUT_S = 2.5
SHORT = {"sqlite": ("kill", "clock jump", "kill"), "postgresql": ("kill", "pause", "cut off")}


async def test_the_auditor_finds_nothing_after_faults(url: str, tmp_path: Path) -> None:
    engine, replicas = ("sqlite", 1) if url.startswith("sqlite") else ("postgresql", 3)
    faults = ON_SQLITE if engine == "sqlite" else ON_POSTGRESQL
    async with Siege(url, tmp_path, replicas, seed=5, followers=10) as siege:
        for name in SHORT[engine]:
            await siege.work(siege.rng.uniform(0.3, 1))
            await faults[name](siege, siege.holder())
        report = await siege.audit()
    assert [str(finding) for finding in report.findings] == []
    assert min(report.checked[what] for what in ("binding assignments", "effects", "messages to followers")) > 0
    assert report.checked["followers"] == 10


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_jump_of_the_clock_reaches_the_server(url: str, tmp_path: Path) -> None:
    """What the test before relies on: without it, it would prove nothing about clocks."""
    async with Siege(url, tmp_path, seed=1, writers=1, followers=0) as siege:
        assert weather_file(tmp_path, siege.servers[0]).stat().st_size == 16
        last = "SELECT max(time_us) FROM events"
        while not siege.look.number(last):
            await siege.work(0.5)
        await ON_SQLITE["clock jump"](siege, siege.servers[0])
        moved = siege.look.number("SELECT max(abs(a.time_us - b.time_us)) FROM events a JOIN events b ON a.number = b.number + 1")
    assert moved > 5_000_000


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_a_server_that_was_cut_off_works_on(url: str, tmp_path: Path) -> None:
    """Cut off for so long that each of its parts has asked the database meanwhile; nobody else can take its work over."""
    async with Siege(url, tmp_path, seed=2, writers=1, followers=0) as siege:
        (proxy,) = siege.proxies.values()
        await siege.work(0.5)
        await asyncio.to_thread(proxy.cut)
        await siege.work(CUT_S)
        await asyncio.to_thread(proxy.mend)
        report = await siege.audit()
    assert [str(finding) for finding in report.findings] == []
