"""`reallot report`: how long records wait and why, and how full sellers are."""

import csv
import html
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import typer

from reallot.clients.terminal import DEFAULT_ADDRESS, Address, Workspace, connected, document, instant, lasting, out, say, short, table
from reallot.clients.values import moment, timestamp
from reallot.v1 import insight_service_pb2, record_pb2, seller_service_pb2

_CAUSES = {"no_capacity": "capacity", "no_availability": "absence", "no_seller_matched": "no match", "no_rule_matched": "no match"}
"""Statuses that count as one cause of waiting; all others are `other`."""
SEGMENT_COLUMNS = (
    *("segment", "assigned", "median s", "90 % s", "contacted", "first contact median s", "first contact 90 % s"),
    *("waiting", "capacity", "absence", "no match", "other"),
)
_WAITING = SEGMENT_COLUMNS.index("waiting")
READ_COLUMNS = tuple(name.removesuffix(" s") for name in SEGMENT_COLUMNS)
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
        sys.stdout.write(page(rows, usage, bouncing, _period(start, end)))
    else:
        table("Waiting, by segment", READ_COLUMNS, [readable(row) for row in rows], numbers=READ_COLUMNS[1:])
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


def readable(row: Sequence[Any]) -> tuple[Any, ...]:
    """Return a line of SEGMENT_COLUMNS as people read it: lengths of time in words, and none where nothing was measured."""
    counts = {"median s": "assigned", "90 % s": "assigned", "first contact median s": "contacted", "first contact 90 % s": "contacted"}
    cells = list(row)
    for name, counted in counts.items():
        measured = row[SEGMENT_COLUMNS.index(counted)]
        cells[SEGMENT_COLUMNS.index(name)] = lasting(row[SEGMENT_COLUMNS.index(name)]) if measured else "–"
    return tuple(cells)


def _period(start: str, end: str) -> str:
    """Return in words what time a report is about."""
    begins, ends = f"from {start}" if start else "", f"to {end}" if end else ""
    return " ".join(filter(None, (begins, ends))) or "everything that is kept"


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


_COLOURS = ("#c05621", "#2b6cb0", "#6b46c1", "#a0aec0")
"""Of capacity, absence, no match and other."""
_STYLE = """body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:76em;padding:0 1em;color:#1a202c}
h1{font-size:1.6em;margin-bottom:0}h2{font-size:1.2em;margin-top:2em}p{color:#4a5568}table{border-collapse:collapse;width:100%}
th,td{padding:.35em .7em;border-bottom:1px solid #e2e8f0;text-align:right;white-space:nowrap}
th{font-weight:600;color:#4a5568;white-space:normal;vertical-align:bottom}th:first-child,td:first-child{text-align:left}
svg{display:block;height:1em;width:14em}svg.wide{width:100%;height:1.6em}rect.all{fill:#edf2f7}rect.part{fill:#2b6cb0}rect.over{fill:#c53030}
.key span{display:inline-block;width:.8em;height:.8em;margin:0 .4em 0 1.2em}"""


class _Raw(str):
    """HTML that is put in as it is."""


def page(rows: Sequence[Sequence[Any]], usage: Sequence[Usage], bouncing: Sequence[Sequence[Any]] = (), period: str = "") -> str:
    """Return the report as an HTML page with charts that loads nothing from elsewhere."""
    most = max((row[_WAITING] for row in rows), default=0)
    waiting = [(*readable(row), _stacked(row[_WAITING + 1 :], most)) for row in rows]
    carried = [(*u, u.percent, _bar(u.percent)) for u in usage]
    parts = [f"<h1>Reallot: waiting and load</h1><p>{html.escape(period)}</p>" if period else "<h1>Reallot: waiting and load</h1>"]
    parts += ["<h2>Why records wait</h2>", _causes(rows)]
    parts += ["<h2>Waiting, by segment</h2>", _html_table((*READ_COLUMNS, ""), waiting)]
    parts += [f"<h2>Load, by seller</h2><p>{html.escape(spread(usage))}</p>", _html_table((*SELLER_COLUMNS, ""), carried)]
    if bouncing:
        parts += ["<h2>To and fro between segments</h2>", _html_table(BOUNCING_COLUMNS, bouncing)]
    head = f'<meta charset="utf-8"><title>Reallot: report</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _causes(rows: Sequence[Sequence[Any]]) -> str:
    """Return what all that waits waits for: a bar, and the shares in words."""
    counts = [sum(row[_WAITING + 1 + place] for row in rows) for place in range(len(_COLOURS))]
    if not any(counts):
        return "<p>Nothing waits.</p>"
    told = zip(shares(rows).items(), counts, _COLOURS, strict=True)
    key = "".join(
        f'<span style="background:{colour}"></span>{html.escape(cause)} {percent} % ({count:,})' for (cause, percent), count, colour in told
    )
    return f'{_stacked(counts, sum(counts), wide=True)}<p class="key">{key}</p>'


def _stacked(counts: Sequence[int], most: int, *, wide: bool = False) -> _Raw:
    """Return a bar in which each count has its part of `most`."""
    bars, start = [], 0.0
    for count, colour, cause in zip(counts, _COLOURS, SEGMENT_COLUMNS[_WAITING + 1 :], strict=True):
        width = count * 100 / most if most else 0.0
        if width:
            drawn = f'<rect x="{start:.2f}" width="{width:.2f}" height="8" fill="{colour}">'
            bars.append(f"{drawn}<title>{html.escape(cause)}: {count:,}</title></rect>")
        start += width
    kind = ' class="wide"' if wide else ""
    back = '<rect class="all" width="100" height="8"/>'
    return _Raw(f'<svg{kind} role="img" viewBox="0 0 100 8" preserveAspectRatio="none">{back}{"".join(bars)}</svg>')


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
