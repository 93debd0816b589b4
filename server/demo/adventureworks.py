"""Replays AdventureWorks: stores are records, dated territories make sellers eligible, a nightly rerun moves what must move.

The tables are tab separated without a header. Both ends of a territory's dates are inclusive; no end means still in force.
"""

import csv
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from reallot.clients import Record, Seller
from reallot.clients.bundle import parse_bundle
from reallot.clients.values import owner_text
from reallot.server.demo.stage import Stage
from reallot.v1 import run_pb2

FIRST_DAY = date(2011, 5, 31)
START = datetime.combine(FIRST_DAY, time(5), UTC)
"""The server's clock begins in the early morning of the history's first day."""
NIGHTLY = time(6)

CONFIG: dict[str, Any] = {
    # Nothing but the schedule looks again.
    "settings": {"rerun_on": {}, "seller_fields": [{"field_id": "territory", "type": "FIELD_TYPE_TEXT"}]},
    "record_types": [
        {
            "record_type": "store",
            "title_field": "name",
            "fields": [{"field_id": "name", "type": "FIELD_TYPE_TEXT"}, {"field_id": "territory", "type": "FIELD_TYPE_TEXT"}],
        }
    ],
    "segments": [
        {
            "segment_id": "stores",
            "record_type": "store",
            "is_default": True,
            "rules": [
                {
                    "rule_id": "own-territory",
                    "target": {"matching": "seller.territory == record.territory"},
                    "policy": "POLICY_LOAD_BALANCING",
                }
            ],
        }
    ],
    "schedules": [
        {
            "schedule_id": "nightly",
            "cron": "0 6 * * *",
            "missed": "MISSED_POLICY_NONE",
            "selection": {"record_type": "store", "owned_but_ineligible": True},
        }
    ],
}


@dataclass(frozen=True)
class Stint:
    """A seller's time in a territory, both ends included."""

    seller_id: str
    territory: str
    start: date
    end: date | None

    def covers(self, day: date) -> bool:
        """Tell whether it is in force on a day."""
        return self.start <= day and (self.end is None or day <= self.end)


@dataclass(frozen=True)
class History:
    """The data, as far as it is replayed."""

    stores: dict[str, tuple[str, str]]
    """Name and territory by store."""
    stints: tuple[Stint, ...]

    def days(self) -> list[date]:
        """Return the days on which something changes."""
        ends = {stint.end + timedelta(days=1) for stint in self.stints if stint.end is not None}
        return sorted({stint.start for stint in self.stints} | ends)

    def territories_on(self, day: date) -> dict[str, str]:
        """Return the territory of every seller who has one on a day."""
        return {stint.seller_id: stint.territory for stint in self.stints if stint.covers(day)}


def read_history(folder: Path) -> History:
    """Read the tables of a folder."""
    names = {row[0]: row[1] for row in _rows(folder / "SalesTerritory.csv")}
    territory_of = {row[2]: names[row[3]] for row in _rows(folder / "Customer.csv") if row[2]}
    stores = {row[0]: (row[1], territory_of[row[0]]) for row in _rows(folder / "Store.csv")}
    stints = [
        Stint(row[1], names[row[2]], _day(row[3]), _day(row[4]) if row[4] else None) for row in _rows(folder / "SalesTerritoryHistory.csv")
    ]
    return History(stores, tuple(stints))


def _rows(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream, delimiter="\t"))


def _day(text: str) -> date:
    return datetime.fromisoformat(text).date()


def replay(stage: Stage, folder: Path, most_days: int | None = None) -> None:
    """Live through the history, or the first of its days on which something happens, and tell what each of them brings."""
    history = read_history(folder)
    resources, _ = parse_bundle(CONFIG)
    stage.client.config.apply(resources, actor="demo")
    rows = []
    for number, day in enumerate(history.days()[:most_days]):
        stage.jump_to(datetime.combine(day, time(5), UTC))
        _set_territories(stage, history, day)
        if not number:
            stage.client.records.upsert(
                Record(store, "store", {"name": name, "territory": territory}) for store, (name, territory) in history.stores.items()
            )
            stage.settle()
        stage.advance_to(datetime.combine(day, NIGHTLY, UTC) + timedelta(minutes=1))
        told = _day_told(stage, history, day)
        stage.tell(told)
        spread = "  ".join(f"{name} {'/'.join(map(str, counts))}" for name, counts in told["loads"].items())
        rows.append((told["date"], told["active_sellers"], told["assigned"], told["unassigned"], told["moved"], spread))
    numbers = ("sellers", "assigned", "unassigned", "moved")
    stage.table(("date", *numbers, "stores by territory and seller"), rows, numbers)


def _set_territories(stage: Stage, history: History, day: date) -> None:
    present = history.territories_on(day)
    sellers = sorted({stint.seller_id for stint in history.stints})
    stage.client.sellers.upsert(Seller(seller, attributes={"territory": present.get(seller)}) for seller in sellers)
    stage.settle()


def _day_told(stage: Stage, history: History, day: date) -> dict[str, Any]:
    records = stage.client.records.list(record_type="store")
    present = history.territories_on(day)
    owned = Counter(owner_text(record.owner) for record in records if record.HasField("owner"))
    loads: dict[str, list[int]] = {}
    for seller, territory in sorted(present.items()):
        loads.setdefault(territory, []).append(owned[seller])
    latest = next(run for run in stage.client.runs.list() if run.kind == run_pb2.RUN_KIND_SCHEDULED)
    return {
        "date": day.isoformat(),
        "active_sellers": len(present),
        "assigned": sum(owned.values()),
        "unassigned": len(records) - sum(owned.values()),
        "moved": latest.counts.moved,
        "loads": {name: sorted(counts, reverse=True) for name, counts in sorted(loads.items())},
    }
