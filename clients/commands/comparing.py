"""`reallot diff` and `reallot changes`: configuration compared as text, with a file or with what it was."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from google.protobuf import json_format

from reallot.clients.bundle import KINDS, BundleError, plain, read_bundle
from reallot.clients.terminal import (
    DEFAULT_ADDRESS,
    FAILED,
    INVALID,
    Address,
    AsJson,
    Workspace,
    connected,
    document,
    fail,
    out,
    say,
    short,
    table,
)
from reallot.clients.values import moment
from reallot.v1 import config_pb2, config_service_pb2, seller_service_pb2

_ACTION = config_service_pb2.ChangeAction
Key = tuple[str, str]
Documents = Mapping[Key, dict[str, Any]]


def show_changes(changes: Sequence[config_service_pb2.ResourceChange], *, as_json: bool, sellers: int = 0) -> None:
    """Print what happens to resources, difference by difference."""
    if as_json:
        for change in changes:
            say(document(change))
        return
    rows = []
    for change in changes:
        action, (kind, name) = short(_ACTION.Name(change.action), "CHANGE_ACTION_"), _key(change)
        if action == "updated":
            rows += [(action, kind, name, f"{d.path}: {d.before or '(none)'} → {d.after or '(none)'}") for d in change.differences]
        elif action != "unchanged":
            rows.append((action, kind, name, ""))
    if sellers:
        rows.append(("stored", "sellers", f"{sellers}", ""))
    if rows:
        table("", ("change", "kind", "id", "difference"), rows)
    else:
        out.print("Nothing changes.")


def diff(
    file: Annotated[Path, typer.Option("-f", "--file", help="YAML file of a bundle.", exists=True, dir_okay=False)],
    prune: Annotated[bool, typer.Option("--prune", help="Also what `apply --prune` would delete.")] = False,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Show as a unified difference what a file would change.

    Exit codes, as of diff: 0 nothing differs, 1 something does, 2 trouble.
    """
    try:
        resources, sellers = read_bundle(file)
    except BundleError as error:
        fail(error, INVALID)
    with connected(address, workspace, failure=INVALID) as client:
        compared = client.config.apply(resources, dry_run=True, prune=prune)
        changed = [change for change in compared.changes if change.action != _ACTION.CHANGE_ACTION_UNCHANGED]
        people = list(_sellers_that_differ(sellers, {s.seller_id: document(s) for s in client.sellers.list()} if sellers else {}))
        if as_json:
            for change in changed:
                say(document(change))
            for name, old, new in people:
                say({"kind": "SELLER", "id": name, "before": old, "after": new})
        else:
            stored, given = _documents(client.config.export()), _documents(resources)
            for change in changed:
                key = _key(change)
                _print_difference("/".join(key), stored.get(key), _like(stored.get(key), given.get(key)), file.name)
            for name, old, new in people:
                _print_difference(f"seller/{name}", old, new, file.name)
        raise typer.Exit(FAILED if changed or people else 0)


def changes(
    kind: Annotated[str, typer.Argument(help="Only this kind, e.g. segment.")] = "",
    name: Annotated[str, typer.Argument(metavar="[ID]", help="Only this resource.")] = "",
    count: Annotated[int, typer.Option(help="Changes to show, newest first.", min=1, max=1_000)] = 10,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Show the history of the configuration: who changed what and when, with the old and the new text."""
    request = config_service_pb2.ListChangesRequest(kind=_kind(kind), id=name, page_size=count)
    with connected(address, workspace) as client:
        for change in client.stubs.config.ListChanges(request).changes:
            if as_json:
                say(document(change))
                continue
            old = plain(change.before) if change.HasField("before") else None
            new = plain(change.after) if change.HasField("after") else None
            action = "created" if old is None else "deleted" if new is None else "updated"
            place = "/".join((_kind_name(change.kind), change.id))
            out.print(
                f"{change.change_id}  {moment(change.time):%Y-%m-%d %H:%M:%S}  {change.actor or '(nobody said)'}: {place} {action}",
                markup=False,
            )
            _print_difference(place, old, new, "new", "old")


def _kind(name: str) -> Any:
    wanted = name.removesuffix("s") if name not in ("", "settings") else name
    try:
        return config_pb2.ConfigKind.Value(f"CONFIG_KIND_{wanted.upper().replace('-', '_')}") if name else 0
    except ValueError:
        fail(f"{name!r} is no kind; kinds are {', '.join(KINDS.values())}", INVALID)


def _kind_name(kind: Any) -> str:
    return short(config_pb2.ConfigKind.Name(kind), "CONFIG_KIND_")


def _key(change: config_service_pb2.ResourceChange) -> Key:
    return _kind_name(change.kind), change.id


def _documents(resources: Sequence[config_pb2.ConfigResource]) -> Documents:
    found = {}
    for resource in resources:
        kind, content = str(resource.WhichOneof("resource")), plain(resource)
        ids = [value for name, value in content.items() if name in (f"{kind}_id", kind)]
        found[kind, str(ids[0]) if ids else kind] = content
    return found


def _like(stored: dict[str, Any] | None, given: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a given resource with what the server keeps of the stored one: from when a distance counts."""
    old, new = (stored or {}).get("every", {}), (given or {}).get("every", {})
    if given is None or not new or "anchor" in new or old.get("duration") != new["duration"] or "anchor" not in old:
        return given
    return given | {"every": new | {"anchor": old["anchor"]}}


def _sellers_that_differ(
    given: Sequence[seller_service_pb2.SellerUpsert], stored: Mapping[str, dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Any] | None, dict[str, Any]]]:
    """Yield the sellers of a file of whom something differs that it says; what it does not say stays as it is."""
    for row in given:
        name, new = row.seller.seller_id, json_format.MessageToDict(row.seller, preserving_proto_field_name=True)
        old = stored.get(name)
        known = None if old is None else {key: old[key] for key in new if key in old}
        if known != new:
            yield name, known, new


def _print_difference(place: str, old: dict[str, Any] | None, new: dict[str, Any] | None, after: str, before: str = "stored") -> None:
    names = ["/dev/null" if side is None else f"{label}/{place}" for side, label in ((old, before), (new, after))]
    for line in difflib.unified_diff(_lines(old), _lines(new), names[0], names[1], lineterm=""):
        head = line.startswith(("---", "+++"))
        style = "bold" if head else {"-": "red", "+": "green", "@": "cyan"}.get(line[:1], "")
        out.print(line, style=style, markup=False, soft_wrap=True)


def _lines(side: dict[str, Any] | None) -> list[str]:
    return [] if side is None else yaml.safe_dump(side, sort_keys=False, allow_unicode=True, width=120).splitlines()
