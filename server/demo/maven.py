"""Replays a CRM's opportunities by date: open from the day of their engagement, closed on the day of their close.

Every seller may have 20 at once. A daily run gives what waits to sellers, the oldest first. What is told of each day is held to what the
server promises: nobody above the maximum, a reason for every opportunity that waits, and room in the same instant for what is closed.
Opportunities that nobody has engaged in have no date, and take no part.
"""

import csv
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from reallot.clients import Record, Seller
from reallot.clients.bundle import parse_bundle
from reallot.server.demo.stage import Stage, StoryFailed
from reallot.v1 import event_pb2, event_service_pb2, insight_service_pb2, record_pb2, seller_service_pb2

CAPACITY = 20
START = datetime(2016, 10, 20, 5, tzinfo=UTC)
"""Early on the first day of the file."""
DAILY = time(6)
PRODUCTS = {"GTXPro": "GTX Pro"}
"""Names in the pipeline that are others in the list of products."""

CONFIG: dict[str, Any] = {
    # Nothing but the daily run gives anything away.
    "settings": {"rerun_on": {}},
    "record_types": [
        {
            "record_type": "opportunity",
            "fields": [{"field_id": name, "type": "FIELD_TYPE_TEXT"} for name in ("product", "account", "stage")],
        }
    ],
    "segments": [
        {
            "segment_id": "opportunities",
            "record_type": "opportunity",
            "is_default": True,
            "on_arrival": "ON_ARRIVAL_WAIT",
            "rules": [{"rule_id": "anybody", "policy": "POLICY_LOAD_BALANCING"}],
        }
    ],
}


@dataclass(frozen=True)
class Opportunity:
    """A line of the pipeline that somebody has engaged in."""

    record_id: str
    product: str
    account: str
    stage: str
    opens: date
    closes: date | None


@dataclass
class Books:
    """What must be true, kept from what the server has told."""

    owners: dict[str, str] = field(default_factory=dict)
    """Sellers of open opportunities."""
    open: int = 0
    cursor: str = ""
    """How far the events have been read."""


def read_pipeline(folder: Path) -> tuple[list[str], list[Opportunity], int]:
    """Return the sellers, the opportunities that are replayed, and how many are not."""
    with (folder / "sales_teams.csv").open(newline="", encoding="utf-8") as stream:
        sellers = sorted(row["sales_agent"] for row in csv.DictReader(stream))
    with (folder / "sales_pipeline.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    found = [
        Opportunity(
            row["opportunity_id"],
            PRODUCTS.get(row["product"], row["product"]),
            row["account"],
            row["deal_stage"],
            date.fromisoformat(row["engage_date"]),
            date.fromisoformat(row["close_date"]) if row["close_date"] else None,
        )
        for row in rows
        if row["engage_date"]
    ]
    return sellers, found, len(rows) - len(found)


def replay(stage: Stage, folder: Path, most_days: int | None = None) -> None:
    """Live through the file, or the first of its days on which something happens, and tell what each of them brings.

    Raises:
        StoryFailed: the server broke a promise.
    """
    sellers, pipeline, left_out = read_pipeline(folder)
    resources, _ = parse_bundle(CONFIG)
    stage.client.config.apply(resources, actor="demo")
    stage.client.sellers.upsert(Seller(name, capacity=CAPACITY) for name in sellers)
    days = sorted({o.opens for o in pipeline} | {o.closes for o in pipeline if o.closes is not None})
    books, told = Books(), []
    for day in days[:most_days]:
        stage.jump_to(datetime.combine(day, DAILY, UTC))
        told.append(_day(stage, books, day, pipeline))
        stage.tell(told[-1])
    columns = list(told[0])
    stage.table(columns, [tuple(row.values()) for row in told], columns[1:-1])
    most = max(row["most_loaded"] for row in told)
    stage.say(f"{len(pipeline):,} opportunities of {len(sellers)} sellers; nobody ever had more than {most} of {CAPACITY}.")
    stage.say(f"{left_out:,} opportunities that nobody has engaged in are left out.")


def _day(stage: Stage, books: Books, day: date, pipeline: list[Opportunity]) -> dict[str, Any]:
    closing = [o for o in pipeline if o.closes == day]
    opening = [o for o in pipeline if o.opens == day]
    stage.client.records.upsert(Record(o.record_id, "opportunity", {"stage": o.stage}, active=False) for o in closing)
    for opportunity in closing:
        books.owners.pop(opportunity.record_id, None)
    # Before anything else happens: what was closed is carried by nobody any more.
    _hold_to(Counter(books.owners.values()), _loads(stage), day)
    fields = [{"product": o.product, "account": o.account or None, "stage": "Engaging"} for o in opening]
    opened = [Record(o.record_id, "opportunity", values) for o, values in zip(opening, fields, strict=True)]
    stage.client.records.upsert(opened)
    # A run waits for what was written before it.
    run = stage.client.runs.wait(stage.client.runs.start().run_id)
    books.open += len(opening) - len(closing)
    _note_owners(stage, books)
    loads = _loads(stage)
    _hold_to(Counter(books.owners.values()), loads, day)
    waiting = _waiting(stage, books.open - len(books.owners), day)
    return {
        "date": day.isoformat(),
        "opened": len(opening),
        "closed": len(closing),
        "assigned": int(run.counts.assigned),
        "open": books.open,
        "waiting": sum(waiting.values()),
        "most_loaded": max(loads.values(), default=0),
        "free": CAPACITY * len(loads) - sum(loads.values()),
        "reasons": waiting if stage.as_json else ", ".join(f"{name} {count:,}" for name, count in waiting.items()),
    }


def _loads(stage: Stage) -> dict[str, int]:
    answer = stage.client.stubs.sellers.ListCapacity(seller_service_pb2.ListCapacityRequest(page_size=1_000))
    return {row.seller_id: row.load for row in answer.sellers}


def _note_owners(stage: Stage, books: Books) -> None:
    filter_ = event_service_pb2.EventFilter(kinds=[event_pb2.EVENT_KIND_ASSIGNED])
    request = event_service_pb2.ListEventsRequest(filter=filter_, cursor=books.cursor, page_size=1_000)
    while True:
        answer = stage.client.stubs.events.ListEvents(request)
        books.owners.update({event.record_id: event.after.owner.seller_id for event in answer.events})
        books.cursor = answer.cursor
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


def _hold_to(owned: Counter[str], loads: dict[str, int], day: date) -> None:
    """Hold the loads to what was told of owners, and to the maximum."""
    for name, load in loads.items():
        if load != owned[name] or load > CAPACITY:
            raise StoryFailed(f"{day}: {name} carries {load}, owns {owned[name]}, and may have {CAPACITY}")


def _waiting(stage: Stage, expected: int, day: date) -> dict[str, int]:
    """Return how many wait for which reason."""
    status = stage.client.stubs.insight.GetStatus(insight_service_pb2.GetStatusRequest())
    names = {
        record_pb2.AssignmentStatus.Name(count.status).removeprefix("ASSIGNMENT_STATUS_").lower(): count.records for count in status.waiting
    }
    if "unspecified" in names or sum(names.values()) != expected:
        raise StoryFailed(f"{day}: {expected} opportunities wait, and the reasons are {names}")
    return names
