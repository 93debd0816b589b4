"""What the auditor looks at: one workspace's rows of the database, the requests that clients sent, and what followers heard.

Read with nothing but SQL and JSON, so that a fault of the product cannot hide itself here.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, Table, create_engine, select

from chaos.journal import read

Row = dict[str, Any]
Owner = tuple[str, str]
"""Kind in capital letters and id; ("", "") = nobody."""
NOBODY: Owner = ("", "")

KEYS = {
    "config": ("kind", "id"),
    "config_changes": ("change_id",),
    "records": ("record_id",),
    "pending": ("record_id",),
    "sellers": ("seller_id",),
    "loads": ("seller_id", "record_type", "segment_id"),
    "gains": ("seller_id", "time_us", "record_type", "segment_id"),
    "turns": ("seller_id", "record_type"),
    "time_off": ("seller_id", "time_off_id"),
    "enrollments": ("enrollment_id",),
    "runs": ("run_id",),
    "decisions": ("decision_id",),
    "events": ("number",),
    "notices": ("number", "seller_id"),
    "requests": ("request_id",),
    "workspaces": ("workspace",),
}
"""The tables that are looked at, and the order in which their rows are read."""
DOCUMENTS = {"config": ("body",), "decisions": ("cause", "before", "after"), "events": ("before", "after", "cause"), "runs": ("cause",)}
NOT_READ = {"decisions": {"considered", "reason"}, "events": {"sentence", "changed_fields"}}
"""Long texts that prove nothing."""


@dataclass
class Request:
    """A request of a client. `outcome` is "" while nobody knows, "OK", or the status code of a refusal."""

    id: str
    method: str
    intent: Row
    sent_at: int
    outcome: str = ""
    answered_at: int | None = None
    result: Row = field(default_factory=dict)
    answer: str = ""

    @property
    def accepted(self) -> bool:
        """It was answered with OK."""
        return self.outcome == "OK"

    @property
    def refused(self) -> bool:
        """It was answered with an error that says it was not carried out."""
        return self.outcome not in ("", "OK")


@dataclass
class Follower:
    """One follower: where it began, what it wanted, and (connection, number, kind, record) of everything it heard, in order."""

    name: str
    after: int
    wanted: Row
    seller: str
    heard: list[tuple[int, int, str, str]] = field(default_factory=list)


@dataclass
class Books:
    """Everything that is looked at. `settled` says that nothing should be under way any more."""

    tables: dict[str, list[Row]]
    requests: dict[str, Request]
    followers: dict[str, Follower]
    settled: bool

    def __getitem__(self, table: str) -> list[Row]:
        return self.tables[table]

    @property
    def counters(self) -> Row:
        """The counters of the workspace."""
        return self.tables["workspaces"][0] if self.tables["workspaces"] else {"event_number": 0, "turn_number": 0, "retained_from": 1}

    def sent(self, method: str) -> list[Request]:
        """Return the requests of one method, in the order of the journals."""
        return [request for request in self.requests.values() if request.method == method]


def owner_in(state: Row | None) -> Owner:
    """Return the owner in an event's state; nobody if there is no state."""
    for kind, owner_id in ((state or {}).get("owner") or {}).items():
        return kind.removesuffix("_id").upper(), owner_id
    return NOBODY


def owner_of(record: Row) -> Owner:
    """Return the owner in a record's row."""
    return record["owner_kind"], record["owner_id"]


def open_books(url: str, journals: Sequence[Path], workspace: str = "default", *, settled: bool = False) -> Books:
    """Read a database, in one snapshot, and journals."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            tables = {name: _rows(connection, name, workspace) for name in KEYS}
    finally:
        engine.dispose()
    requests, followers = _told(journals)
    return Books(tables, requests, followers, settled)


def _rows(connection: Connection, name: str, workspace: str) -> list[Row]:
    table = Table(name, MetaData(), autoload_with=connection, resolve_fks=False)
    columns = [column for column in table.c if column.name not in NOT_READ.get(name, ())]
    statement = select(*columns).where(table.c.workspace == workspace).order_by(*(table.c[key] for key in KEYS[name]))
    rows = [dict(row) for row in connection.execute(statement).mappings()]
    for row in rows:
        for document in DOCUMENTS.get(name, ()):
            row[document] = json.loads(row[document])
    return rows


def _told(journals: Iterable[Path]) -> tuple[dict[str, Request], dict[str, Follower]]:
    requests: dict[str, Request] = {}
    followers: dict[str, Follower] = {}
    for line in read(journals):
        kind = line["t"]
        if kind == "sent":
            requests.setdefault(line["id"], Request(line["id"], line["method"], line["intent"], line["position"]))
        elif kind == "answer":
            request = requests[line["id"]]
            request.outcome, request.answered_at = line["outcome"], line["position"]
            request.result, request.answer = line.get("result") or {}, line.get("answer") or ""
        elif kind == "follow":
            follower = Follower(line["follower"], line["after"], line.get("filter") or {}, line.get("seller") or "")
            followers.setdefault(line["follower"], follower)
        elif kind == "heard":
            followers[line["follower"]].heard.append((line["connection"], line["number"], line["kind"], line["record"]))
        else:
            raise ValueError(f"a journal has a line of an unknown kind {kind!r}")
    return requests, followers


def by(rows: Iterable[Row], *keys: str) -> dict[Any, list[Row]]:
    """Return rows by the values of some columns; a single one stands by itself."""
    found: defaultdict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[keys[0]] if len(keys) == 1 else tuple(row[key] for key in keys)].append(row)
    return found
