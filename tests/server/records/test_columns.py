"""Rows sent as Arrow columns, as rows of an import, and as upserts come to the same, on both engines."""

import asyncio
import contextlib
import io
import itertools
import multiprocessing
import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import literal, select

from reallot.server.arrow import ArrowReader
from reallot.server.clock import ManualClock
from reallot.server.errors import ApiError
from reallot.server.runtime import Runtime
from reallot.server.services import upserts
from reallot.server.services.configuration import ConfigService
from reallot.server.services.records import RecordService
from reallot.server.services.sellers import SellerService
from reallot.server.settings import Settings
from reallot.storage import Database, ReadTransaction, WriteTransaction
from reallot.storage.schema import migrate
from reallot.storage.tables import config, decisions, events, loads, notices, pending, records, rerun_requests, sellers, turns, workspaces
from reallot.v1 import config_service_pb2, record_service_pb2, seller_service_pb2, value_pb2
from support.api import a_row, a_seller_row, fields_of, resource, sales, value
from support.cases import cases
from support.postgres import fresh_postgresql

NOW_US = 1_772_438_400_000_000
ATTRIBUTES = ("active", "priority", "value_units", "effort", "group_key", "created_by", "created_time")
DTYPES = {
    "country": pl.String,
    "revenue": pl.Float64,
    "employees": pl.Int64,
    "hot": pl.Boolean,
    "seen": pl.Datetime("us", "UTC"),
    "due": pl.Date,
    "tags": pl.List(pl.String),
    "note": pl.String,
    "industry": pl.String,
}
_names = itertools.count()
Row = dict[str, Any]

text = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Zl", "Zp")), max_size=5)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "country": st.sampled_from(["DE", "AT"]) | st.text(max_size=4),
    "revenue": st.sampled_from([0.0, -0.0, 1e16, 1e-5, 2_000_000.0]) | st.floats(allow_nan=False, allow_infinity=False),
    "employees": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2),
    "hot": st.booleans(),
    "seen": st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)),
    "due": st.dates(date(1, 1, 1), date(9999, 12, 31)),
    "tags": st.lists(text, max_size=3),
    "note": st.text(max_size=4),
    "industry": text,
}
LEAD, ACCOUNT = tuple(name for name in VALUES if name != "industry"), ("industry",)
ids = st.sampled_from(["a", "b", "c", "d", "Ü 1"])


@st.composite
def batches(draw: st.DrawFn) -> list[list[Row]]:
    """Draw batches of rows of different records, all of which give the same fields and attributes."""
    fields = draw(st.sets(st.sampled_from(sorted(VALUES))))
    given_attributes = draw(st.sets(st.sampled_from(ATTRIBUTES)))
    kinds = {name: draw(st.sampled_from(["lead", "lead", "account"])) for name in ("a", "b", "c", "d", "Ü 1")}
    owned, related = draw(st.booleans()), draw(st.booleans())

    def row(record_id: str) -> Row:
        declared = [name for name in sorted(fields) if name in (LEAD if kinds[record_id] == "lead" else ACCOUNT)]
        made: Row = {"record_id": record_id, "record_type": kinds[record_id]}
        made["fields"] = {name: draw(st.none() | VALUES[name]) for name in declared}
        made["attributes"] = {name: draw(st.none() | ATTRIBUTE_VALUES[name]) for name in sorted(given_attributes)}
        made["owner"] = draw(st.sampled_from(["", "", "seller:ann", "seller:bob", "team:field", "queue:inbox"])) if owned else ""
        if related and kinds[record_id] == "lead":
            made["related"] = {"account": draw(st.sampled_from(["", "acme"]))}
        return made

    return [[row(i) for i in draw(st.lists(ids, unique=True, min_size=1))] for _ in range(draw(st.integers(1, 3)))]


ATTRIBUTE_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "active": st.booleans(),
    "priority": st.integers(0, 100),
    "value_units": st.integers(-5, 5),
    "effort": st.integers(0, 3),
    "group_key": st.sampled_from(["", "g"]),
    "created_by": st.sampled_from(["", "web"]),
    "created_time": st.datetimes(datetime(2026, 1, 1), datetime(2026, 2, 1), timezones=st.just(UTC)),
}


def message_value(plain: Any) -> value_pb2.Value:
    if isinstance(plain, datetime):
        # FromDatetime loses nothing, but goes by days and microseconds only from year 1 on.
        made = value_pb2.Value()
        made.timestamp.FromMicroseconds((plain - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))
        return made
    if isinstance(plain, date):
        return value_pb2.Value(date={"year": plain.year, "month": plain.month, "day": plain.day})
    return value(plain)


def as_upsert(row: Row) -> record_service_pb2.RecordUpsert:
    kind, _, name = row["owner"].partition(":")
    attributes = {n: v for n, v in row["attributes"].items() if v is not None}
    fields = {n: message_value(v) for n, v in row["fields"].items()}
    owner = {"owner": value_pb2.Owner(**{f"{kind}_id": name})} if kind else {}
    return a_row(row["record_id"], fields, record_type=row["record_type"], related=row.get("related", {}), **attributes, **owner)


def as_arrow(rows: list[Row]) -> bytes:
    """Return rows as an Arrow stream: nulls stand where the record type of a row does not declare a field."""
    table = pl.DataFrame({name: [row[name] for row in rows] for name in ("record_id", "record_type")})
    columns: list[pl.Series] = []
    for name in sorted({n for row in rows for n in row["attributes"]}):
        kind = pl.Datetime("us", "UTC") if name == "created_time" else None
        columns.append(pl.Series(name, [row["attributes"][name] for row in rows], dtype=kind))
    names = sorted({n for row in rows for n in row["fields"]})
    parts = {"fields": [pl.Series(n, [row["fields"].get(n) for row in rows], dtype=DTYPES[n]) for n in names]}
    parts["owner"] = [
        pl.Series(f"{k}_id", [row["owner"].removeprefix(f"{k}:") if row["owner"].startswith(k) else None for row in rows], dtype=pl.String)
        for k in ("seller", "team", "queue")
    ]
    if any("related" in row for row in rows):
        parts["related"] = [pl.Series("account", [row.get("related", {}).get("account") for row in rows], dtype=pl.String)]
    columns += [pl.DataFrame(series).to_struct(name) for name, series in parts.items() if series]
    return stream_of(table.with_columns(columns))


def stream_of(table: pl.DataFrame) -> bytes:
    written = io.BytesIO()
    table.write_ipc_stream(written)
    return written.getvalue()


class House:
    """The services over one database, with a way to see all of a workspace."""

    def __init__(self, url: str) -> None:
        self.runtime = Runtime(Database(url, clock_us=lambda: NOW_US), ManualClock(NOW_US), Settings(database_url=url))
        self.records = RecordService(self.runtime)
        self._template = ""

    def close(self) -> None:
        self.runtime.arrow.close()
        self.runtime.db.close()

    def workspace(self) -> str:
        """Return a fresh workspace of the sales organisation: a copy of one to which it was applied."""
        if not self._template:
            asyncio.run(self._apply("template"))
            self._template = "template"
        name = f"w{next(_names)}"

        def copy(tx: WriteTransaction) -> None:
            for table in (workspaces, config, sellers):
                columns = [literal(name) if c.name == "workspace" else c for c in table.c]
                rows = select(*columns).where(table.c.workspace == self._template)
                tx.connection.execute(table.delete().where(table.c.workspace == name))
                tx.connection.execute(table.insert().from_select(list(table.c), rows))

        self.runtime.db.write(name, copy)
        return name

    async def _apply(self, name: str) -> None:
        account = resource(record_type={"record_type": "account", "fields": fields_of(industry="TEXT"), "title_field": "industry"})
        found = [account if r.record_type.record_type == "account" else r for r in sales()]
        await ConfigService(self.runtime).Apply(config_service_pb2.ApplyRequest(workspace=name, resources=found), None)  # type: ignore[arg-type]
        rows = [a_seller_row("ann", display_name='Ann "A"'), a_seller_row("bob")]
        request = seller_service_pb2.UpsertSellersRequest(workspace=name, sellers=rows)
        await SellerService(self.runtime).UpsertSellers(request, None)  # type: ignore[arg-type]

    async def take(self, *parts: record_service_pb2.ImportRecordsRequest) -> record_service_pb2.ImportRecordsResponse:
        async def stream() -> AsyncIterator[record_service_pb2.ImportRecordsRequest]:
            for part in parts:
                yield part

        return await self.records.ImportRecords(stream(), None)  # type: ignore[arg-type]

    def seen(self, workspace: str) -> dict[str, list[tuple[Any, ...]]]:
        """Return all that is stored of a workspace's records, without the name of the workspace."""

        def read(tx: ReadTransaction) -> dict[str, list[tuple[Any, ...]]]:
            found = {}
            for table in (records, events, pending, decisions, loads, turns, notices, rerun_requests):
                columns = [c for c in table.c if c.name not in ("workspace", "decision_id")]
                order = [c for c in table.primary_key if c.name != "workspace"]
                rows = tx.connection.execute(select(*columns).where(table.c.workspace == workspace).order_by(*order))
                found[table.name] = [tuple(row) for row in rows]
            return found

        return self.runtime.db.read(read)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    url = f"sqlite:///{tmp_path_factory.mktemp('columns')}/reallot.sqlite" if request.param == "sqlite" else fresh_postgresql()
    if request.param == "sqlite":
        migrate(url)
    made = House(url)
    yield made
    made.close()


@given(batches(), st.booleans())
@settings(max_examples=cases(12), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_columns_rows_and_upserts_come_to_the_same(house: House, many: list[list[Row]], live: bool) -> None:
    names = [house.workspace() for _ in range(4)]
    asyncio.run(all_ways(house, names, many, live=live))
    assert_alike([house.seen(name) for name in names])


def assert_alike(seen: list[dict[str, list[tuple[Any, ...]]]]) -> None:
    for other in seen[1:]:
        assert other == seen[0]


async def all_ways(house: House, names: list[str], many: list[list[Row]], *, live: bool) -> None:
    """Send the same rows to four workspaces: as columns, as rows of an import, as upserts, and as upserts that are written in columns."""
    by_columns, by_rows, by_upserts, in_columns = names
    Part = record_service_pb2.ImportRecordsRequest  # noqa: N806
    columns = await house.take(*(Part(workspace=by_columns, live=live, arrow=as_arrow(batch)) for batch in many))
    rows = await house.take(*(Part(workspace=by_rows, live=live, records=map(as_upsert, batch)) for batch in many))
    answers = await upserted(house, by_upserts, many, quiet=not live)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upserts, "MANY", 1)
        assert await upserted(house, in_columns, many, quiet=not live) == answers
    assert columns == rows


async def upserted(house: House, workspace: str, many: list[list[Row]], *, quiet: bool) -> list[record_service_pb2.UpsertRecordsResponse]:
    requests = [record_service_pb2.UpsertRecordsRequest(workspace=workspace, records=map(as_upsert, batch), quiet=quiet) for batch in many]
    return [await house.records.UpsertRecords(request, None) for request in requests]  # type: ignore[arg-type]


ONE = {"record_id": ["a", "b"], "record_type": ["lead", "lead"]}
NAIVE = [datetime(2026, 1, 1), None]


def fields(**columns: list[Any]) -> dict[str, Any]:
    return ONE | {"fields": pl.DataFrame(columns).to_struct("fields")}


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no type": ({"record_id": ["a"]}, "arrow.record_type", "INVALID_FIELD"),
    "unknown column": (ONE | {"colour": ["red", "blue"]}, "arrow.colour", "UNKNOWN_FIELD"),
    "no id": (ONE | {"record_id": ["a", None]}, "arrow.record_id[1]", "INVALID_ID"),
    "malformed id": (ONE | {"record_id": [" a", "b"]}, "arrow.record_id[0]", "INVALID_ID"),
    "numbers as ids": (ONE | {"record_id": [1, 2]}, "arrow.record_id", "WRONG_TYPE"),
    "an id twice": (ONE | {"record_id": ["a", "a"]}, "arrow.record_id[1]", "DUPLICATE_ID"),
    "undeclared type": (ONE | {"record_type": ["lead", "house"]}, "arrow.record_type[1]", "UNKNOWN_RECORD_TYPE"),
    "fields that are no struct": (ONE | {"fields": [1, 2]}, "arrow.fields", "WRONG_TYPE"),
    "undeclared field": (fields(colour=["red", None]), "arrow.fields.colour", "UNKNOWN_FIELD"),
    "field of another type": (
        {"record_id": ["a", "b"], "record_type": ["lead", "account"]} | {"fields": [{"note": "x"}, {"note": "y"}]},
        "arrow.fields.note[1]",
        "UNKNOWN_FIELD",
    ),
    "text as number": (fields(revenue=["1", None]), "arrow.fields.revenue", "WRONG_TYPE"),
    "decimal as whole number": (fields(employees=[1.5, None]), "arrow.fields.employees", "WRONG_TYPE"),
    "not finite": (fields(revenue=[1.0, float("inf")]), "arrow.fields.revenue[1]", "WRONG_TYPE"),
    "too large": (fields(employees=pl.Series([1, 2**63], dtype=pl.UInt64)), "arrow.fields.employees[1]", "WRONG_TYPE"),  # type: ignore[arg-type]
    "too long": (fields(note=[None, "x" * 32_769]), "arrow.fields.note[1]", "WRONG_TYPE"),
    "instant without zone": (fields(seen=NAIVE), "arrow.fields.seen", "WRONG_TYPE"),
    "null in a list": (fields(tags=[["a"], ["b", None]]), "arrow.fields.tags[1]", "WRONG_TYPE"),
    "priority": (ONE | {"priority": [100, 101]}, "arrow.priority[1]", "INVALID_FIELD"),
    "group key": (ONE | {"group_key": ["g", "\n"]}, "arrow.group_key[1]", "INVALID_ID"),
    "two owners": (ONE | {"owner": [{"seller_id": "ann", "team_id": "field"}] * 2}, "arrow.owner[0]", "INVALID_FIELD"),
    "unknown seller": (ONE | {"owner": [{"seller_id": "ann"}, {"seller_id": "zoe"}]}, "arrow.owner[1]", "UNKNOWN_REFERENCE"),
    "unknown reference": (ONE | {"related": [{"house": "x"}] * 2}, "arrow.related.house", "UNKNOWN_FIELD"),
    "too many rows": ({"record_id": [f"r{n}" for n in range(10_001)], "record_type": "lead"}, "arrow.record_id", "BATCH_TOO_LARGE"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_cannot_be_stored_is_refused_with_its_column_and_row(house: House, case: str) -> None:
    columns, field, reason = REFUSED[case]
    workspace = house.workspace()
    batch = record_service_pb2.ImportRecordsRequest(workspace=workspace, arrow=stream_of(pl.DataFrame(columns)))

    with pytest.raises(ApiError) as caught:
        asyncio.run(house.take(batch))

    assert [(v.field, v.reason) for v in caught.value.violations][:1] == [(field, reason)]
    assert not any(house.seen(workspace).values())


def test_a_batch_before_one_that_is_refused_is_stored(house: House) -> None:
    workspace = house.workspace()
    part = record_service_pb2.ImportRecordsRequest
    with pytest.raises(ApiError):
        asyncio.run(house.take(part(workspace=workspace, arrow=stream_of(pl.DataFrame(ONE))), part(arrow=b"no arrow at all")))
    assert [row[0] for row in house.seen(workspace)["records"]] == ["a", "b"]


def test_the_type_of_a_stored_record_stays(house: House) -> None:
    workspace = house.workspace()
    part = record_service_pb2.ImportRecordsRequest
    asyncio.run(house.take(part(workspace=workspace, arrow=stream_of(pl.DataFrame(ONE)))))
    other = pl.DataFrame(ONE | {"record_type": ["lead", "account"]})
    with pytest.raises(ApiError, match="a record's type cannot change") as caught:
        asyncio.run(house.take(part(workspace=workspace, arrow=stream_of(other))))
    assert caught.value.violations[0].field == "arrow.record_type[1]"


def test_a_repeated_import_is_answered_alike(house: House) -> None:
    workspace = house.workspace()
    batch = record_service_pb2.ImportRecordsRequest(workspace=workspace, request_id="once", arrow=stream_of(pl.DataFrame(ONE)))
    first, again = asyncio.run(house.take(batch)), asyncio.run(house.take(batch))
    assert first == again
    assert first.created == 2


def test_rows_and_columns_at_once_are_refused(house: House) -> None:
    batch = record_service_pb2.ImportRecordsRequest(workspace=house.workspace(), arrow=b"x", records=[a_row()])
    with pytest.raises(ApiError, match="not both"):
        asyncio.run(house.take(batch))


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_corrupted_bytes_are_refused_and_harm_nobody(house: House) -> None:
    whole = stream_of(pl.DataFrame(fields(note=["x", None], tags=[["a"], None])))
    chance, workspace = random.Random(3), house.workspace()
    # Among these are some that end the process that reads them.
    for _ in range(150):
        broken = bytearray(whole)
        for _ in range(chance.randrange(1, 5)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        with contextlib.suppress(ApiError):
            asyncio.run(house.take(record_service_pb2.ImportRecordsRequest(workspace=workspace, arrow=bytes(broken))))
    answer = asyncio.run(house.take(record_service_pb2.ImportRecordsRequest(workspace=house.workspace(), arrow=whole)))
    assert answer.created == 2


def test_a_reader_that_was_killed_is_started_again() -> None:
    reader, whole = ArrowReader(), stream_of(pl.DataFrame(ONE))
    others = set(multiprocessing.active_children())
    assert asyncio.run(reader.read(whole, "arrow")).height == 2
    (child,) = set(multiprocessing.active_children()) - others
    child.kill()
    assert asyncio.run(reader.read(whole, "arrow")).height == 2
    reader.close()
