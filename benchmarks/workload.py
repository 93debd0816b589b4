"""The business that benchmarks work on: sellers by region and line, and records of ten fields that fit some of them."""

import random
from collections.abc import Iterator
from typing import Any

from reallot.clients import AsyncClient, Record, Seller
from reallot.clients.bundle import parse_bundle
from reallot.storage import Database
from reallot.storage.entities import Record as StoredRecord
from reallot.storage.entities import Transition

WORKSPACE = "default"
LOADED_US = 1_772_400_000_000_000
"""Instant at which records that are loaded past a server came."""
FIELDS = {
    "region": "TEXT",
    "line": "TEXT",
    "company": "TEXT",
    "city": "TEXT",
    "source": "TEXT",
    "contact": "TEXT",
    "employees": "INTEGER",
    "score": "INTEGER",
    "revenue": "DECIMAL",
    "newsletter": "BOOLEAN",
}
SOURCES = ("web", "fair", "referral", "partner")
SELLERS_TOGETHER = 10
LOADED_AT_ONCE = 10_000


class Workload:
    """Sellers and records from one seed: ten sellers in a region and ten for a line, so 1,000 sellers make 10,000 classes of records.

    Not thread-safe: a record's content depends on how many were made before.
    """

    def __init__(self, sellers: int, records: int, seed: int = 1) -> None:
        self.sellers = sellers
        self.records = records
        self._regions = self._lines = max(sellers // SELLERS_TOGETHER, 1)
        self._chance = random.Random(seed)

    def bundle(self, *, waits: bool, paused: bool = False) -> dict[str, Any]:
        """Return the configuration: a seller fits by region or by line.

        Records wait for a run, or are assigned as they come; or, if the workspace is paused, nothing happens to them.
        """
        fields = [{"field_id": name, "type": f"FIELD_TYPE_{kind}"} for name, kind in FIELDS.items()]
        either = "seller.region == record.region || seller.line == record.line"
        rule = {"rule_id": "either", "policy": "POLICY_ROUND_ROBIN", "target": {"matching": either}}
        segment = {"segment_id": "all", "record_type": "lead", "is_default": True, "rules": [rule]}
        return {
            "settings": {"rerun_on": {}, "seller_fields": fields[:2], "paused": paused},
            "record_types": [{"record_type": "lead", "fields": fields}],
            "segments": [segment | ({"on_arrival": "ON_ARRIVAL_WAIT"} if waits else {})],
        }

    async def configure(self, client: AsyncClient, *, waits: bool, paused: bool = False) -> None:
        """Store configuration and sellers, who have room for twice as many records."""
        resources, _ = parse_bundle(self.bundle(waits=waits, paused=paused))
        await client.config.apply(resources)
        capacity = 2 * self.records // self.sellers + 1
        rows = [
            Seller(
                f"s{number:05d}",
                attributes={"region": f"r{number % self._regions}", "line": f"l{(number // 7) % self._lines}"},
                capacity=capacity,
            )
            for number in range(self.sellers)
        ]
        await client.sellers.upsert(rows)

    @staticmethod
    def name(number: int) -> str:
        """Return the id of a record."""
        return f"r{number:07d}"

    def fields(self, number: int) -> dict[str, Any]:
        """Return the values of a record's ten fields."""
        chance = self._chance
        return {
            "region": f"r{chance.randrange(self._regions)}",
            "line": f"l{chance.randrange(self._lines)}",
            "company": f"Company number {number}",
            "city": f"City {chance.randrange(5_000)}",
            "source": chance.choice(SOURCES),
            "contact": f"person{number}@company{chance.randrange(20_000)}.example",
            "employees": chance.randrange(1, 10_000),
            "score": chance.randrange(100),
            "revenue": chance.randrange(10**9) / 100,
            "newsletter": chance.random() < 0.5,
        }

    def rows(self, count: int, first: int = 0) -> list[Record]:
        """Return records to be sent to a server."""
        return [Record(self.name(number), "lead", self.fields(number)) for number in range(first, first + count)]

    def load(self, url: str, waiting: int, owned: int = 0) -> None:
        """Store records past any server, as intake leaves them: the first wait for a run, the others are inactive."""
        db = Database(url, clock_us=lambda: LOADED_US)
        try:
            for part in _parts(waiting + owned):
                made = [Transition(None, self._stored(number, number < waiting)) for number in part]
                db.write(WORKSPACE, lambda tx, made=made: tx.commit_records(WORKSPACE, made))  # type: ignore[misc]
        finally:
            db.close()

    def _stored(self, number: int, active: bool) -> StoredRecord:
        # One at a time, so that age orders them.
        placed = {"segment_id": "all", "segmentation": "SEGMENTED", "assignment": "WAITING", "connection": "NO_SEQUENCE"}
        return StoredRecord(self.name(number), "lead", self.fields(number), active=active, created_us=LOADED_US + number, **placed)  # type: ignore[arg-type]


def _parts(count: int) -> Iterator[range]:
    for start in range(0, count, LOADED_AT_ONCE):
        yield range(start, min(start + LOADED_AT_ONCE, count))
