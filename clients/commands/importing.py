"""`reallot import records|sellers FILE.csv`: a first load, or a regular one."""

import csv
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from reallot.clients.errors import ReallotError
from reallot.clients.model import Record, Seller
from reallot.clients.terminal import DEFAULT_ADDRESS, FAILED, INVALID, Address, AsJson, Workspace, connected, err, fail, out, say
from reallot.v1 import config_pb2, config_service_pb2, value_pb2

application = typer.Typer(add_completion=False, help="Load records or sellers from a CSV file.", no_args_is_help=True)
BATCH = 10_000
"""Rows stored at once: one that is refused keeps out no others."""
_ROW = re.compile(r"\[(\d+)\]")
Mapped = Annotated[list[str] | None, typer.Option("--map", help='Column to field, e.g. "Lead Source=lead_source"; may come often.')]
Nulls = Annotated[list[str] | None, typer.Option("--null", help="Text that means null, beside the empty one; may come often.")]
CsvFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]


OF_SELLERS = ("display_name", "capacity", "hours", "zone", "teams")
"""Columns of sellers beside those of declared attributes and skills."""


@application.command("records")
def records(
    file: CsvFile,
    record_type: Annotated[str, typer.Option("--type", help="Type of the records.")],
    id_column: Annotated[str, typer.Option("--id", help="Column with the record's id.")] = "record_id",
    owner_column: Annotated[str, typer.Option("--owner", help="Column with the owning seller's id; empty = none.")] = "",
    mapping: Mapped = None,
    nulls: Nulls = None,
    live: Annotated[bool, typer.Option("--live", help="Assign, enrol and notify, as an upsert does. Default: quiet.")] = False,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Store the rows of a CSV file as records; columns that the record type does not declare are left out."""
    with connected(address, workspace) as client:
        kind = client.stubs.config.GetConfig(
            config_service_pb2.GetConfigRequest(kind=config_pb2.CONFIG_KIND_RECORD_TYPE, id=record_type)
        ).record_type
        types = {field.field_id: field.type for field in kind.fields}
        names = _mapping(mapping)
        _check_columns(file, id_column, names, {*types, owner_column}, record_type)
        counts = {"created": 0, "updated": 0, "unchanged": 0, "conflicts": 0}
        made: list[Record] = []
        faults: list[str] = []
        total = sum(1 for _ in _rows(file))
        with _bar(total, as_json=as_json) as progress:
            task = progress.add_task(f"importing {record_type}", total=total)
            for line, row in _rows(file):
                try:
                    made.append(_record(row, record_type, id_column, owner_column, types, names, nulls or []))
                except ValueError as error:
                    faults.append(f"line {line}: {error}")
                if len(made) == BATCH:
                    _store(client, made, counts, faults, quiet=not live)
                    progress.update(task, advance=BATCH)
                    made = []
            _store(client, made, counts, faults, quiet=not live)
            progress.update(task, completed=total)
        _finish({**counts, "refused": len(faults)}, faults, as_json=as_json)


@application.command("sellers")
def sellers(
    file: CsvFile,
    id_column: Annotated[str, typer.Option("--id", help="Column with the seller's id.")] = "seller_id",
    mapping: Mapped = None,
    nulls: Nulls = None,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Store the rows of a CSV file as sellers.

    Columns: display_name, capacity, hours, zone, teams (separated by ;), skill:NAME (1 to 10), and declared attributes.
    """
    with connected(address, workspace) as client:
        exported = client.config.export()
        settings = next((r.settings for r in exported if r.HasField("settings")), config_pb2.Settings())
        types = {field.field_id: field.type for field in settings.seller_fields}
        _check_columns(file, id_column, _mapping(mapping), {*types, *OF_SELLERS}, "sellers")
        made, faults = [], []
        for line, row in _rows(file):
            try:
                made.append(_seller(row, id_column, types, _mapping(mapping), nulls or []))
            except ValueError as error:
                faults.append(f"line {line}: {error}")
        results = client.sellers.upsert(made)
        created = sum(result.created for result in results)
        _finish({"created": created, "updated": len(results) - created, "refused": len(faults)}, faults, as_json=as_json)


def _mapping(texts: list[str] | None) -> dict[str, str]:
    found = {}
    for text in texts or ():
        column, sign, name = text.partition("=")
        if not sign:
            fail(f"--map {text!r}: write COLUMN=FIELD", INVALID)
        found[column] = name
    return found


def _check_columns(file: Path, id_column: str, names: Mapping[str, str], known: Collection[str], what: str) -> None:
    """End the program if a file has no column of ids; tell which of its columns are left out, and which names there are."""
    with file.open(newline="", encoding="utf-8-sig") as stream:
        columns = next(csv.reader(stream), [])
    if id_column not in columns:
        fail(f"{file} has no column {id_column!r}: it has {', '.join(columns) or 'none'}; --id names the one with the ids", INVALID)
    unknown = [c for c in columns if c != id_column and names.get(c, c) not in known and not c.startswith("skill:")]
    if unknown:
        fields = ", ".join(sorted(name for name in known if name)) or "none"
        text = f"left out, as {what} has no such field: {', '.join(unknown)} (fields: {fields}; --map COLUMN=FIELD renames)"
        err.print(text, markup=False, soft_wrap=True)


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        for row in reader:
            yield reader.line_num, {name: value or "" for name, value in row.items() if name is not None}


def _bar(total: int, *, as_json: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=err, disable=as_json or not err.is_terminal or not total, transient=True)


def _record(
    row: Mapping[str, str],
    record_type: str,
    id_column: str,
    owner_column: str,
    types: Mapping[str, int],
    names: Mapping[str, str],
    nulls: list[str],
) -> Record:
    fields = _fields({k: v for k, v in row.items() if k != id_column or names.get(k, k) in types}, types, names, nulls)
    return Record(row[id_column].strip(), record_type, fields, owner=row.get(owner_column) or None)


def _fields(row: Mapping[str, str], types: Mapping[str, int], names: Mapping[str, str], nulls: list[str]) -> dict[str, Any]:
    found = {}
    for column, text in row.items():
        name = names.get(column, column)
        if name in types:
            found[name] = None if not text or text in nulls else _parsed(name, text, types[name])
    return found


def _parsed(name: str, text: str, kind: int) -> Any:
    try:
        match value_pb2.FieldType.Name(kind):  # type: ignore[arg-type]
            case "FIELD_TYPE_INTEGER":
                return int(text)
            case "FIELD_TYPE_DECIMAL":
                return float(text)
            case "FIELD_TYPE_BOOLEAN":
                return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.strip().lower()]
            case "FIELD_TYPE_TIMESTAMP":
                moment = datetime.fromisoformat(text)
                return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            case "FIELD_TYPE_DATE":
                return date.fromisoformat(text)
            case "FIELD_TYPE_TEXT_LIST":
                return [part.strip() for part in text.split(";") if part.strip()]
    except (ValueError, KeyError):
        kind_name = value_pb2.FieldType.Name(kind).removeprefix("FIELD_TYPE_").lower()  # type: ignore[arg-type]
        raise ValueError(f"{name}: {text!r} is no {kind_name}") from None
    return text


def _seller(row: Mapping[str, str], id_column: str, types: Mapping[str, int], names: Mapping[str, str], nulls: list[str]) -> Seller:
    renamed = {names.get(column, column): value for column, value in row.items()}
    return Seller(
        seller_id=row[id_column].strip(),
        display_name=renamed.get("display_name") or None,
        attributes=_fields(row, types, names, nulls),
        skills={name.removeprefix("skill:"): int(v) for name, v in renamed.items() if name.startswith("skill:") and v},
        team_ids=[team.strip() for team in renamed.get("teams", "").split(";") if team.strip()],
        capacity=int(renamed["capacity"]) if renamed.get("capacity") else None,
        hours=renamed.get("hours") or None,
        zone=renamed.get("zone") or None,
    )


def _store(client: Any, made: list[Record], counts: dict[str, int], faults: list[str], *, quiet: bool) -> None:
    if not made:
        return
    try:
        answer = client.records.load(made, live=not quiet)
    except ReallotError as error:
        if not error.violations:
            raise
        faults.extend(f"{_place(v.field, made)}: {v.field}: {v.description}" for v in error.violations)
        return
    for name in ("created", "updated", "unchanged"):
        counts[name] += getattr(answer, name)
    counts["conflicts"] += len(answer.conflicts)
    faults.extend(f"{conflict.record_id}: {conflict.conflict.text}" for conflict in answer.conflicts)


def _place(field: str, made: list[Record]) -> str:
    """Return the id of the record that a fault names by its row, or of the first."""
    row = _ROW.search(field)
    return made[int(row[1])].record_id if row and int(row[1]) < len(made) else f"{made[0].record_id} …"


def _finish(counts: dict[str, int], faults: list[str], *, as_json: bool) -> None:
    if as_json:
        say(counts)
    else:
        out.print(", ".join(f"{number:,} {name}" for name, number in counts.items()))
    for fault in faults[:20]:
        err.print(fault, markup=False)
    if len(faults) > 20:
        err.print(f"and {len(faults) - 20} more")
    if faults:
        raise typer.Exit(FAILED)
