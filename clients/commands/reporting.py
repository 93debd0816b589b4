"""`reallot report`: how long records wait and why, and how full sellers are."""

import csv
import html
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import typer

from reallot.clients.terminal import DEFAULT_ADDRESS, Address, Workspace, connected, document, instant, out, say, short, table
from reallot.clients.values import moment, timestamp
from reallot.v1 import insight_service_pb2, record_pb2, seller_service_pb2

_CAUSES = {"no_capacity": "capacity", "no_availability": "absence", "no_seller_matched": "no match", "no_rule_matched": "no match"}
"""Statuses that count as one cause of waiting; all others are `other`."""
SEGMENT_COLUMNS = (
    *("segment", "assigned", "median s", "90 % s", "contacted", "first contact median s", "first contact 90 % s"),
    *("waiting", "capacity", "absence", "no match", "other"),
)
_WAITING = SEGMENT_COLUMNS.index("waiting")
BOUNCING_COLUMNS = ("record", "returns", "moves", "segments", "fields that changed", "last (UTC)")
SELLER_COLUMNS = ("seller", "load", "maximum", "percent")


class Format(StrEnum):
    """How a report is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


class Usage(NamedTuple):
    """What a seller carries of what the seller may."""

    seller_id: str
    load: int
    maximum: int

    @property
    def percent(self) -> int:
        """Load in percent of the maximum, rounded down; of none, any load is 100."""
        return self.load * 100 // self.maximum if self.maximum else 100 * bool(self.load)


def report(
    start: Annotated[str, typer.Option("--from", help="Only what was assigned, or began to wait, from this day or instant on (UTC).")] = "",
    end: Annotated[str, typer.Option("--to", help="And before this day or instant (UTC).")] = "",
    form: Annotated[Format, typer.Option("--format", help="table, csv, json, or html: one page that needs nothing else.")] = Format.TABLE,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
) -> None:
    """Report by segment how long records wait for an owner and why, and by seller how full everybody is."""
    request = insight_service_pb2.GetReportRequest()
    for text, field in ((start, request.start_time), (end, request.end_time)):
        if text:
            field.CopyFrom(timestamp(instant(text)))
    with connected(address, workspace) as client:
        answer = client.stubs.insight.GetReport(request)
        pages = client.inner.pages(client.inner.stubs.sellers.ListCapacity, seller_service_pb2.ListCapacityRequest(), "sellers")
        usage = [Usage(row.seller_id, row.load, row.maximum) for row in client.iterate(pages)]
    rows = [segment_row(row) for row in answer.waiting]
    bouncing = [bouncing_row(row) for row in answer.bouncing]
    if form is Format.JSON:
        sellers = [{"seller_id": u.seller_id, "load": u.load, "maximum": u.maximum} for u in usage]
        say({**document(answer), "sellers": sellers, "waiting_percent": shares(rows)})
    elif form is Format.CSV:
        _print_csv(rows, usage, bouncing)
    elif form is Format.HTML:
        sys.stdout.write(page(rows, usage, bouncing))
    else:
        table("Waiting, by segment", SEGMENT_COLUMNS, rows, numbers=SEGMENT_COLUMNS[1:])
        out.print(", ".join(f"{name} {percent} %" for name, percent in shares(rows).items()) + " of what waits.", markup=False)
        table("Load, by seller", SELLER_COLUMNS, [(*u, u.percent) for u in usage], numbers=SELLER_COLUMNS[1:])
        out.print(spread(usage))
        if bouncing:
            title = f"To and fro between segments: {answer.bouncing_records:,} records"
            table(title, BOUNCING_COLUMNS, bouncing, numbers=BOUNCING_COLUMNS[1:3])


def segment_row(row: insight_service_pb2.WaitingReport) -> tuple[Any, ...]:
    """Return one line of SEGMENT_COLUMNS."""
    causes = dict.fromkeys(SEGMENT_COLUMNS[-4:], 0)
    for count in row.waiting_by_status:
        name = short(record_pb2.AssignmentStatus.Name(count.status), "ASSIGNMENT_STATUS_")
        causes[_CAUSES.get(name, "other")] += count.records
    contacts = (row.contacted, round(row.median_contact_seconds), round(row.p90_contact_seconds))
    figures = (row.assigned, round(row.median_seconds), round(row.p90_seconds), *contacts, row.waiting)
    return (row.segment_id or "(none)", *figures, *causes.values())


def shares(rows: Sequence[Sequence[Any]]) -> dict[str, int]:
    """Return how many percent of all that waits do so for what, rounded; of nothing, none."""
    causes = SEGMENT_COLUMNS[_WAITING + 1 :]
    counts = [sum(row[_WAITING + 1 + place] for row in rows) for place in range(len(causes))]
    return {cause: round(count * 100 / (sum(counts) or 1)) for cause, count in zip(causes, counts, strict=True)}


def bouncing_row(row: insight_service_pb2.BouncingRecord) -> tuple[Any, ...]:
    """Return one line of BOUNCING_COLUMNS."""
    texts = (" ↔ ".join(row.segment_ids), ", ".join(row.fields), f"{moment(row.last_time):%Y-%m-%d %H:%M:%S}")
    return (row.record_id, row.returns, row.moves, *texts)


def spread(usage: Sequence[Usage]) -> str:
    """Return in one sentence how evenly sellers are loaded."""
    if not usage:
        return "There are no sellers."
    loads = [u.load for u in usage]
    return f"Loads lie between {min(loads):,} and {max(loads):,}; on average {sum(loads) / len(loads):,.1f} for {len(loads):,} sellers."


def _print_csv(rows: Sequence[Sequence[Any]], usage: Sequence[Usage], bouncing: Sequence[Sequence[Any]]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(("section", "name", "figure", "value"))
    carried = [(*u, u.percent) for u in usage]
    sections = (("segment", SEGMENT_COLUMNS, rows), ("seller", SELLER_COLUMNS, carried), ("bouncing", BOUNCING_COLUMNS, bouncing))
    for kind, columns, lines in sections:
        for line in lines:
            writer.writerows((kind, line[0], column, value) for column, value in zip(columns[1:], line[1:], strict=True))


_STYLE = """body{font:15px system-ui,sans-serif;margin:2em auto;max-width:70em;color:#222}table{border-collapse:collapse;width:100%}
th,td{padding:.3em .7em;border-bottom:1px solid #ddd;text-align:right}th:first-child,td:first-child{text-align:left}
svg{display:block;height:1em;width:14em}rect.all{fill:#e6e6e6}rect.part{fill:#2b6cb0}rect.over{fill:#c53030}"""


def page(rows: Sequence[Sequence[Any]], usage: Sequence[Usage], bouncing: Sequence[Sequence[Any]] = ()) -> str:
    """Return the report as an HTML page with bars that loads nothing from elsewhere."""
    most = max((row[_WAITING] for row in rows), default=0) or 1
    waiting = [(*row, _bar(row[_WAITING] * 100 // most)) for row in rows]
    carried = [(*u, u.percent, _bar(u.percent)) for u in usage]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Reallot: report</title><style>{_STYLE}</style>'
        f"<h1>Waiting, by segment</h1>{_html_table((*SEGMENT_COLUMNS, ''), waiting)}"
        f"<h1>Load, by seller</h1><p>{html.escape(spread(usage))}</p>{_html_table((*SELLER_COLUMNS, ''), carried)}"
        + (f"<h1>To and fro between segments</h1>{_html_table(BOUNCING_COLUMNS, bouncing)}" if bouncing else "")
        + "</html>\n"
    )


class _Raw(str):
    """HTML that is put in as it is."""


def _bar(percent: int) -> _Raw:
    kind = "over" if percent > 100 else "part"
    width = min(max(percent, 0), 100)
    return _Raw(
        '<svg viewBox="0 0 100 8" preserveAspectRatio="none"><rect class="all" width="100" height="8"/>'
        f'<rect class="{kind}" width="{width}" height="8"/></svg>'
    )


def _html_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if isinstance(value, _Raw):
        return str(value)
    return html.escape(f"{value:,}" if isinstance(value, int) else str(value))
