"""What a load sends: columns where records are alike, rows where they are not, in their order and with nothing left out."""

import io
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from reallot.clients import Record
from reallot.clients.arrow import batches_of
from reallot.v1 import record_service_pb2


def many(count: int = 50, first: int = 0, **fields: Any) -> list[Record]:
    return [Record(f"r{n}", "lead", fields) for n in range(first, first + count)]


def table_of(batch: record_service_pb2.ImportRecordsRequest) -> pl.DataFrame:
    return pl.read_ipc_stream(io.BytesIO(batch.arrow))


def ids_of(batches: list[record_service_pb2.ImportRecordsRequest]) -> list[str]:
    return [i for b in batches for i in (table_of(b)["record_id"] if b.arrow else [row.record.record_id for row in b.records])]


def test_alike_records_become_columns_of_their_kinds() -> None:
    moment = datetime(2026, 3, 2, 8, tzinfo=UTC)
    values = {"a": "x", "b": 1, "c": 1.5, "d": True, "e": moment, "f": date(2026, 3, 2), "g": ["x"], "h": None}
    (batch,) = batches_of(Record(r.record_id, "lead", values, owner="team:field", priority=7) for r in many())
    table = table_of(batch)
    assert table.row(0, named=True) == {
        "record_id": "r0",
        "record_type": "lead",
        "priority": 7,
        "fields": values,
        "owner": {"seller_id": None, "team_id": "field", "queue_id": None},
    }


def test_whole_numbers_and_decimals_are_decimals() -> None:
    records = [Record(f"r{n}", "lead", {"revenue": value}) for n, value in enumerate([1, 2.5, None] * 10)]
    (batch,) = batches_of(records)
    assert table_of(batch)["fields"].struct.field("revenue").to_list()[:3] == [1.0, 2.5, None]


@pytest.mark.parametrize(
    "odd",
    [
        [*many(30, a="x"), *many(30, 30, a=1)],
        [*many(30, a="x"), *many(30, 30, b="x")],
        [*many(30, a="x"), *many(30, a="y")],
        [Record(f"r{n}", "lead", expected_owner="") for n in range(1_500)],
        many(3, a="x"),
        many(20_001, a="x"),
    ],
    ids=["kinds", "fields", "twice", "expected owner", "few", "more than fit"],
)
def test_nothing_is_left_out_and_the_order_stays(odd: list[Record]) -> None:
    batches = list(batches_of(odd))
    assert ids_of(batches) == [record.record_id for record in odd]
    assert all(len(b.records) <= 1_000 for b in batches)
    assert all(table_of(b).height <= 10_000 and table_of(b)["record_id"].is_unique().all() for b in batches if b.arrow)


def test_values_of_several_kinds_go_as_rows_for_the_server_to_judge() -> None:
    mixed = [Record(f"r{n}", "lead", {"a": "x" if n % 2 else 1}) for n in range(50)]
    (batch,) = batches_of(mixed)
    assert not batch.arrow
    assert batch.records[1].record.fields["a"].text == "x"


def test_an_instant_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="seen: an instant has no time zone"):
        list(batches_of(many(seen=datetime(2026, 3, 2))))
