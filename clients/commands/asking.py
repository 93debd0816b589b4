"""`reallot worth`, `whatif`, `compare`: questions about plans; nothing is written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from google.protobuf import json_format

from reallot.clients.bundle import BundleError, parse_bundle, read_bundle
from reallot.clients.terminal import DEFAULT_ADDRESS, INVALID, Address, AsJson, Workspace, connected, document, fail, out, say, short, table
from reallot.clients.values import owner_text
from reallot.v1 import insight_service_pb2, record_pb2, run_pb2

RecordType = Annotated[str, typer.Option("--type", help="Only this record type.")]
Segments = Annotated[list[str] | None, typer.Option("--segment", help="Only this segment; may come often.")]
Filter = Annotated[str, typer.Option("--filter", help="Only records for which this CEL condition holds; needs --type.")]


def worth(
    record_type: RecordType = "",
    segment: Segments = None,
    where: Filter = "",
    count: Annotated[int, typer.Option(help="Rows to show; 0 = all.")] = 20,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Say what one more slot of each seller would be worth for the records that wait, level by level; below 0 is better."""
    selection = run_pb2.RunSelection(record_type=record_type, segment_ids=segment or [], filter=where)
    with connected(address, workspace) as client:
        answer = client.stubs.insight.GetWorth(insight_service_pb2.GetWorthRequest(selection=selection))
    if as_json:
        say(document(answer))
        return
    out.print(f"Of {answer.records:,} records, {answer.waiting:,} would stay without an owner.")
    if not answer.slots:
        out.print("One more slot of any seller would change nothing.")
        return
    shown = answer.slots[: count or None]
    levels = [i for i in range(len(answer.level_ids)) if any(slot.level_changes[i] for slot in shown)]
    names = [level_text(answer.level_ids[i]) for i in levels]
    rows = [(slot.seller_id, maximum_text(slot), *(_change(slot.level_changes[i]) for i in levels)) for slot in shown]
    title = "One more slot, the most valuable first; below 0 is better, each column counts before the next"
    table(title, ("seller", "maximum", *names), rows, numbers=names)
    if len(answer.slots) > len(shown):
        out.print(f"and {len(answer.slots) - len(shown):,} more that would change something")


def maximum_text(slot: Any) -> str:
    """Return for people which maximum of a seller is meant."""
    if slot.segment_id:
        return f"segment {slot.segment_id}"
    return f"type {slot.record_type}" if slot.record_type else "in all"


def level_text(level_id: str) -> str:
    """Return for people what a level counts; less is better at each."""
    kind, _, of = level_id.partition(":")
    match kind:
        case "coverage":
            return f"left out, priority {of}"
        case "rule_order":
            return "later rules"
        case "availability":
            return "days off"
        case "policy":
            return f"policy {of.replace('_', ' ')}"
    return level_id.replace("_", " ")


def _change(number: int) -> str:
    return f"{number:+,}" if number else ""


def whatif(
    file: Annotated[Path, typer.Option("-f", "--file", help="YAML file of the changes.", exists=True, dir_okay=False)],
    rows: Annotated[int, typer.Option(help="Differing records to list.")] = 50,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Show what a run would do as things are, and with other capacities, absences, rules or head-count; nothing is written.

    The file is a bundle as apply reads it, and beside it may say `absent` (seller ids), `hire` (like, count), `selection` (what the run
    takes) and `reopen` (also what sellers own is given out anew).
    """
    try:
        request = read_changes(file)
    except BundleError as error:
        fail(error, INVALID)
    request.most_differences = max(0, min(rows, 10_000))
    with connected(address, workspace) as client:
        answer = client.stubs.insight.WhatIf(request)
    if as_json:
        say(document(answer))
        return
    _figures((answer.figures_before, answer.figures_after), ("as it is", "with the changes"))
    _levels((answer.levels_before, answer.levels_after), ("as it is", "with the changes"))
    _statuses((answer.before, answer.after), ("as it is", "with the changes"))
    _differences(answer, ("as it is", "with the changes"))


def read_changes(file: Path) -> insight_service_pb2.WhatIfRequest:
    """Return the request of a file of changes.

    Raises:
        BundleError: it cannot be read.
    """
    try:
        content = yaml.safe_load(file.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BundleError(f"{file}: {error}") from None
    if not isinstance(content, dict):
        raise BundleError(f"{file}: the file is not a mapping")
    own = {
        "absent_seller_ids": content.pop("absent", []),
        "hires": [
            {"like_seller_id": item.get("like", ""), "count": item.get("count", 1)} if isinstance(item, dict) else item
            for item in content.pop("hire", None) or []
        ],
        "selection": content.pop("selection", {}),
        "reopen": content.pop("reopen", False),
    }
    try:
        request: insight_service_pb2.WhatIfRequest = json_format.ParseDict(own, insight_service_pb2.WhatIfRequest())
    except (json_format.ParseError, AttributeError, TypeError) as error:
        raise BundleError(f"{file}: {error}") from None
    resources, sellers = parse_bundle(content, str(file))
    request.resources.extend(resources)
    request.sellers.extend(row.seller for row in sellers)
    return request


def compare(
    second: Annotated[Path, typer.Argument(help="YAML bundle of the second policy.", exists=True, dir_okay=False)],
    first: Annotated[Path | None, typer.Option("--against", help="YAML bundle of the first; without, the stored configuration.")] = None,
    record_type: RecordType = "",
    segment: Segments = None,
    where: Filter = "",
    waiting_only: Annotated[bool, typer.Option("--waiting", help="Only records without an owner.")] = False,
    rows: Annotated[int, typer.Option(help="Differing records to list.")] = 50,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Compare what two policies make of the same stored records, as if nobody had them yet; nothing is written."""
    try:
        resources = [read_bundle(file)[0] if file is not None else [] for file in (first, second)]
    except BundleError as error:
        fail(error, INVALID)
    selection = run_pb2.RunSelection(record_type=record_type, segment_ids=segment or [], filter=where)
    request = insight_service_pb2.CompareRequest(
        selection=selection, first=resources[0], second=resources[1], waiting_only=waiting_only, most_differences=max(0, min(rows, 10_000))
    )
    with connected(address, workspace) as client:
        answer = client.stubs.insight.Compare(request)
    if as_json:
        say(document(answer))
        return
    names = (first.name if first is not None else "as it is", second.name)
    _figures((answer.first_figures, answer.second_figures), names)
    _levels((answer.first_levels, answer.second_levels), names)
    _statuses((answer.first, answer.second), names)
    _differences(answer, names)


Names = tuple[str, str]


def _figures(both: Sequence[insight_service_pb2.PlanFigures], names: Names) -> None:
    rows = [
        (text, *(_figure(getattr(figures, field)) for figures in both))
        for text, field in (
            ("records planned", "planned"),
            ("with an owner", "covered"),
            ("owner changes", "owner_changes"),
            ("value covered", "value_covered"),
            ("score", "score"),
            ("sellers", "sellers"),
            ("least load", "least_load"),
            ("most load", "most_load"),
            ("mean load", "mean_load"),
            ("deviation of loads", "load_deviation"),
        )
    ]
    table("", ("figure", *names), rows, numbers=names)


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _levels(both: Sequence[Sequence[run_pb2.LevelResult]], names: Names) -> None:
    values = [{level.level_id: level.value for level in levels} for levels in both]
    order = list(dict.fromkeys(level.level_id for levels in both for level in levels))
    rows = [(level_text(level), *(f"{value[level]:,}" if level in value else "" for value in values)) for level in order]
    table("Levels, lower is better, each counts before the next", ("level", *names), rows, numbers=names)


def _statuses(both: Sequence[run_pb2.RunCounts], names: Names) -> None:
    counts = [{row.status: row.records for row in count.by_status} for count in both]
    order = sorted({*counts[0], *counts[1]})
    rows = [(_status(status), *(count.get(status, 0) for count in counts)) for status in order]
    if rows:
        table("Records by status", ("status", *names), rows, numbers=names)


def _differences(answer: Any, names: Names) -> None:
    if not answer.different and not answer.sellers:
        out.print("Nothing comes out otherwise.")
        return
    sellers = [(s.seller_id, s.records_before, s.records_after, s.load_before, s.load_after) for s in answer.sellers]
    columns = ("seller", f"gets: {names[0]}", f"gets: {names[1]}", f"load: {names[0]}", f"load: {names[1]}")
    if sellers:
        table("Sellers", columns, sellers, numbers=columns[1:])
    if answer.differences:
        table("Records", ("record", *names), [(d.record_id, _planned(d.before), _planned(d.after)) for d in answer.differences])
    if answer.different > len(answer.differences):
        out.print(f"and {answer.different - len(answer.differences):,} more records")


def _planned(state: insight_service_pb2.PlannedState) -> str:
    who = owner_text(state.owner) or f"(nobody: {_status(state.status)})"
    return f"{who} in {state.segment_id or '(no segment)'}"


def _status(number: int) -> str:
    return short(record_pb2.AssignmentStatus.Name(number), "ASSIGNMENT_STATUS_")  # type: ignore[arg-type]
