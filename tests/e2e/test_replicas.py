"""Servers that share one PostgreSQL: any of them answers, one works a workspace, and another takes over when it is gone."""

import itertools
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from reallot.clients import Client, Record, Seller
from reallot.clients.bundle import parse_bundle
from reallot.v1 import event_pb2, event_service_pb2
from support.postgres import fresh_postgresql

sys.path.insert(0, str(Path(__file__).parent))
from servers import Server

PATIENCE_S = 30
TAKE_OVER_S = 5.0
LEADS = {"record_type": "lead", "fields": [{"field_id": "stage", "type": "FIELD_TYPE_TEXT"}]}
SEGMENT = {"segment_id": "leads", "record_type": "lead", "is_default": True, "rules": [{"rule_id": "all", "policy": "POLICY_ROUND_ROBIN"}]}


_workspaces = (f"w{n}" for n in itertools.count())


class Cluster:
    """Three servers on one database, and the workspace of the present test."""

    def __init__(self, url: str, servers: list[Server]) -> None:
        self.servers = servers
        self.workspace = ""
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT")
        self._clients = ExitStack()

    def client(self, number: int) -> Client:
        return self._clients.enter_context(Client(self.servers[number].address, workspace=self.workspace))

    def ask(self, statement: str) -> list[tuple[object, ...]]:
        """Return the rows of a statement, in which `:here` is the workspace."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement).bindparams(here=self.workspace))]

    def holder(self) -> int:
        """Return which server works the workspace; -1 = none."""
        found = self.ask("SELECT address FROM replicas JOIN leases ON holder = replica_id WHERE workspace = :here")
        return [s.address for s in self.servers].index(str(found[0][0])) if found else -1

    def owned(self) -> int:
        (row,) = self.ask("SELECT count(*) FROM records WHERE owner_id <> '' AND workspace = :here")
        return int(str(row[0]))

    def until(self, found: object, what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not found():  # type: ignore[operator]
            assert time.monotonic() < deadline, what

    def close(self) -> None:
        self._clients.close()
        self._engine.dispose()

    def move(self) -> None:
        """Go on in a fresh workspace, with all servers running."""
        self.start()
        self.workspace = next(_workspaces)
        resources, _ = parse_bundle({"record_types": [LEADS], "segments": [SEGMENT]})
        self.client(0).config.apply(resources)
        self.client(1).sellers.upsert(Seller(f"s{n}", capacity=1_000) for n in range(5))
        self.until(lambda: self.holder() >= 0, "a server works the workspace")

    def start(self) -> None:
        """Start the servers that do not run, side by side."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: server.start(), [s for s in self.servers if not s.is_running]))


@pytest.fixture(scope="module")
def started() -> Iterator[Cluster]:
    url = fresh_postgresql()
    made = Cluster(url, [Server(url) for _ in range(3)])
    yield made
    made.close()
    for item in made.servers:
        item.end()


@pytest.fixture
def cluster(started: Cluster) -> Cluster:
    started.move()
    return started


def leads(start: int, count: int) -> list[Record]:
    return [Record(f"r{n:05d}", "lead", {"stage": "new"}) for n in range(start, start + count)]


def test_any_server_takes_records_and_every_follower_hears_of_them(cluster: Cluster) -> None:
    clients = [cluster.client(number) for number in range(3)]
    cursor = clients[0].stubs.events.ListEvents(event_service_pb2.ListEventsRequest()).cursor
    for number, client in enumerate(clients):
        client.records.upsert(leads(10 * number, 10))
    for client in clients:
        told = client.iterate(client.inner.events.watch(cursor=cursor))
        assigned = itertools.islice((event.record_id for event in told if event.kind == event_pb2.EVENT_KIND_ASSIGNED), 30)
        assert sorted(assigned) == [record.record_id for record in leads(0, 30)]


def test_another_server_takes_over_from_one_that_was_killed(cluster: Cluster) -> None:
    gone = cluster.holder()
    cluster.servers[gone].kill()
    others = [number for number in range(3) if number != gone]
    cluster.client(others[0]).records.upsert(leads(0, 50))
    cluster.until(lambda: cluster.holder() in others and cluster.owned() == 50, "the records are worked by another server")
    assert {str(row[0]) for row in cluster.ask("SELECT DISTINCT assignment FROM records WHERE workspace = :here")} == {"ASSIGNED"}


def test_a_server_that_stops_hands_over_at_once(cluster: Cluster) -> None:
    gone = cluster.holder()
    assert cluster.servers[gone].stop() == 0
    assert cluster.holder() != gone
    others = [number for number in range(3) if number != gone]
    cluster.client(others[1]).records.upsert(leads(0, 50))
    cluster.until(lambda: cluster.owned() == 50, "the records are worked by another server")


def test_a_holder_that_was_paused_and_wakes_late_commits_nothing(cluster: Cluster) -> None:
    paused = cluster.holder()
    others = [number for number in range(3) if number != paused]
    fence = cluster.ask("SELECT fence FROM leases WHERE workspace = :here")
    cluster.client(paused).records.upsert(leads(0, 2_000))
    os.kill(cluster.servers[paused].process_id, signal.SIGSTOP)
    try:
        cluster.client(others[0]).records.upsert(leads(2_000, 50))
        cluster.until(lambda: cluster.holder() in others and cluster.owned() == 2_050, "the records are worked by another server")
        assert cluster.ask("SELECT fence FROM leases WHERE workspace = :here") > fence
    finally:
        os.kill(cluster.servers[paused].process_id, signal.SIGCONT)
    cluster.client(paused).records.upsert(leads(2_050, 50))
    cluster.until(lambda: cluster.owned() == 2_100, "the woken server serves again")
    twice = "SELECT record_id FROM events WHERE kind = 'ASSIGNED' AND workspace = :here GROUP BY record_id HAVING count(*) > 1"
    assert cluster.ask(twice) == []
