"""Stop "change" for many new records at once, in columns: the same as `change_of` says of each. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from reallot.server.convert.texts import inner, joined, quoted, shown_text, stored_text
from reallot.server.road.change import OWNER_CAME, Upsert, arrival_cause, give_by_hand
from reallot.server.road.events import event_of, group_names
from reallot.server.workspace_config import RecordTypeConfig, WorkspaceConfig
from reallot.solver.segmentation.schema import COLUMN_TYPES
from reallot.storage.arrivals import Arrivals
from reallot.storage.documents import JsonText, dump, load
from reallot.storage.entities import Owner, OwnerKind, Record

DEFAULTS: Mapping[str, Any] = {
    "active": True,
    "priority": 50,
    "value_units": 0,
    "effort": 1,
    "created_by": "",
    "group_key": "",
    "owner_kind": "",
    "owner_id": "",
}
_DTYPES = {bool: pl.Boolean, int: pl.Int64, str: pl.String}
_RECORD, _OWNER = "\ue000", "\ue001"
"""Stand in a sentence for the title of the record and the name of its owner, until it is told of each."""
ATTRIBUTES = ("active", "priority", "value_units", "created_us", "created_by", "effort", "group_key")
"""Columns of a record that are attributes, in the order in which answers name them."""
_DONE = (
    *("row", "record_id", "record_type", "fields", "related", *DEFAULTS, "created_us", "assignment"),
    *("kind", "after", "changed_fields", "sentence", "decided", "takes_turn"),
)


def frames_of(rows: Sequence[Upsert], config: WorkspaceConfig) -> list[pl.DataFrame]:
    """Return rows that create records as columns, a frame for each record type (see `arrivals_of`)."""
    by_type: dict[str, list[tuple[int, Upsert]]] = {}
    for number, row in enumerate(rows):
        by_type.setdefault(row.record_type, []).append((number, row))
    return [_frame_of(some, config.record_types[record_type]) for record_type, some in by_type.items()]


def _frame_of(numbered: Sequence[tuple[int, Upsert]], kind: RecordTypeConfig) -> pl.DataFrame:
    rows = [row for _, row in numbered]
    owners = [row.owner for row in rows]
    columns = {
        "row": pl.Series([number for number, _ in numbered], dtype=pl.UInt32),
        "record_id": pl.Series([row.record_id for row in rows]),
        "record_type": pl.Series([row.record_type for row in rows]),
        "owner_kind": pl.Series([owner.kind.value if owner else "" for owner in owners]),
        "owner_id": pl.Series([owner.id if owner else "" for owner in owners]),
    }
    for name in {name for row in rows for name in row.attributes}:
        columns[name] = pl.Series([row.attributes.get(name) for row in rows])
    for role in {role for row in rows for role in row.related}:
        columns[f"related.{role}"] = pl.Series([row.related.get(role, "") for row in rows])
    for name in {name for row in rows for name in row.fields}:
        values = [row.fields.get(name) for row in rows]
        columns[f"fields.{name}"] = pl.Series(values, dtype=COLUMN_TYPES[kind.schema.by_id[name].type])
    return pl.DataFrame(columns)


def arrivals_of(frames: Sequence[pl.DataFrame], config: WorkspaceConfig, names: Mapping[str, str], *, quiet: bool) -> Arrivals:
    """Return new records as storage takes them, in the order of the rows.

    Args:
        frames: A frame for each record type, with the columns `row` (the order), `record_id`, `record_type` and, as far as anything is
            given, those of attributes (null = the default), `owner_kind` and `owner_id`, `related.<role>` ("" = none), and `fields.<id>`
            in stored form (null = null).
        config: Its record types are those of the rows.
        names: Display names of the owning sellers by id.
        quiet: Nobody is assigned or notified.
    """
    parts = [_of_type(_filled(frame), config, names, quiet=quiet) for frame in frames]
    cause = JsonText(dump(arrival_cause(quiet=quiet)))
    notifies = not (quiet or config.settings.paused)
    return Arrivals(pl.concat(parts).sort("row"), cause, cause, OWNER_CAME, notifies)


def _filled(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame with every attribute, as storage takes them."""
    given = {name: pl.col(name) for name in frame.columns}
    filled = [given.get(n, pl.lit(None)).cast(_DTYPES[type(default)]).fill_null(default).alias(n) for n, default in DEFAULTS.items()]
    return frame.with_columns(*filled, given.get("created_us", pl.lit(None)).cast(pl.Int64).alias("created_us"))


def _of_type(frame: pl.DataFrame, config: WorkspaceConfig, names: Mapping[str, str], *, quiet: bool) -> pl.DataFrame:
    kind = config.record_types[frame["record_type"][0]]
    given = sorted(f.id for f in kind.schema.fields if f"fields.{f.id}" in frame.columns)
    stored = {name: stored_text(frame[f"fields.{name}"], kind.schema.by_id[name].type) for name in given}
    open_names = [name for name in given if name not in kind.personal]
    shown = {name: shown_text(frame[f"fields.{name}"], stored[name], kind.schema.by_id[name].type) for name in open_names}
    texts = frame.with_columns(
        *(column.alias(f"stored.{name}") for name, column in stored.items()),
        *(column.alias(f"shown.{name}") for name, column in shown.items()),
        pl.Series("title", _titles(frame, kind, config), dtype=pl.String),
    )
    roles = [role for role in sorted(kind.roles) if f"related.{role}" in frame.columns]
    targets = [pl.when(pl.col(f"related.{role}") != "").then(_named(role, quoted(pl.col(f"related.{role}")))) for role in roles]
    texts = texts.with_columns(
        _object(joined([_named(name, pl.col(f"stored.{name}")) for name in given])).alias("fields"),
        _object(joined(targets)).alias("related"),
        joined([_named(name, pl.col(f"shown.{name}")) for name in open_names]).alias("shown"),
        _listed(given).alias("changed_fields"),
    )
    counted = not quiet and kind.message.record_type in config.counted_types
    by_owner = texts.partition_by("owner_kind", as_dict=True)
    told = [_told(part, str(owner), config, names, quiet=quiet) for (owner,), part in by_owner.items()]
    return pl.concat(told).with_columns(pl.lit(counted).alias("takes_turn")).select(_DONE)


def _told(frame: pl.DataFrame, owner_kind: str, config: WorkspaceConfig, names: Mapping[str, str], *, quiet: bool) -> pl.DataFrame:
    """Add what is told of records that all have an owner of one kind, or none."""
    sample = Record(_RECORD, str(frame["record_type"][0]))
    if owner_kind:
        sample = give_by_hand(sample, Owner(OwnerKind(owner_kind), _OWNER))
    draft = event_of(None, sample, config=config, time_us=0, cause=arrival_cause(quiet=quiet))
    if draft is None:
        raise AssertionError("there is something to tell of every new record")
    called = names if owner_kind == OwnerKind.SELLER else group_names(config, owner_kind.lower())
    owners = [called.get(i, i) for i in frame["owner_id"]]
    frame = frame.with_columns(pl.Series("owner_name", owners, dtype=pl.String))
    marked = {_RECORD: inner(pl.col("title")), _OWNER: inner(pl.col("owner_name"))}
    pieces = [marked.get(piece, pl.lit(piece)) for piece in re.split(f"({_RECORD}|{_OWNER})", dump(draft.sentence)) if piece]
    status = f',"assignment":"ASSIGNMENT_STATUS_{sample.assignment}"' if sample.assignment else ""
    before = pl.concat_str(pl.lit('{"active":'), pl.col("active").cast(pl.String), pl.lit(status))
    owner = pl.concat_str(pl.lit(f',"owner":{{"{owner_kind.lower()}_id":'), quoted(pl.col("owner_id")), pl.lit("}"))
    after = pl.concat_str(owner if owner_kind else pl.lit(""), pl.lit(',"priority":'), pl.col("priority").cast(pl.String), pl.lit("}"))
    fields = pl.when(pl.col("shown") != "").then(pl.concat_str(pl.lit(',"fields":{'), pl.col("shown"), pl.lit("}"))).otherwise(pl.lit(""))
    return frame.with_columns(
        pl.lit(sample.assignment).alias("assignment"),
        pl.lit(draft.kind).alias("kind"),
        pl.concat_str(before, fields, after).alias("after"),
        pl.concat_str(pieces).alias("sentence"),
        (pl.concat_str(before, after) if owner_kind else pl.lit(None, dtype=pl.String)).alias("decided"),
    )


def _titles(frame: pl.DataFrame, kind: RecordTypeConfig, config: WorkspaceConfig) -> list[str]:
    ids, name, record_type = frame["record_id"].to_list(), kind.message.title_field, kind.message.record_type
    if not name or f"fields.{name}" not in frame.columns:
        return ids
    return [config.title(record_type, i, {name: value}) for i, value in zip(ids, frame[f"fields.{name}"].to_list(), strict=True)]


def _named(name: str, text: pl.Expr) -> pl.Expr:
    """Return a member of a JSON object; null where the text is null."""
    return pl.concat_str(pl.lit(f"{dump(name)}:"), text)


def _object(members: pl.Expr) -> pl.Expr:
    return pl.concat_str(pl.lit("{"), members, pl.lit("}"))


def _listed(names: list[str]) -> pl.Expr:
    """Return the names of the fields that are not null, as JSON."""
    members = [pl.when(pl.col(f"fields.{name}").is_not_null()).then(pl.lit(dump(name))) for name in names]
    return pl.concat_str(pl.lit("["), joined(members), pl.lit("]"))


def same_as_stored(frame: pl.DataFrame, stored: pl.DataFrame) -> pl.Series:
    """Return for each row of a frame (see `arrivals_of`) whether a record is stored that it changes nothing of.

    `stored` has the columns of records that callers write. A row may be taken for one that changes something though it does not, but
    never the other way round.
    """
    renamed = stored.rename({name: f"{name}@stored" for name in stored.columns if name != "record_id"})
    both = frame.join(renamed, on="record_id", how="left", maintain_order="left")
    same = pl.col("version@stored").is_not_null()
    for name in both.columns:
        if f"{name}@stored" in both.columns and name != "fields":
            same &= pl.col(name).is_null() | (pl.col(name) == pl.col(f"{name}@stored"))
    related = [name for name in frame.columns if name.startswith("related.")]
    if related:
        targets = [
            pl.when(pl.col(name) != "").then(_named(name.removeprefix("related."), quoted(pl.col(name)))) for name in sorted(related)
        ]
        same &= _object(joined(targets)) == pl.col("related@stored")
    alike = both.select(same.alias("same")).to_series().fill_null(value=False)
    names = [name for name in frame.columns if name.startswith("fields.")]
    if not names or not alike.any():
        return alike
    given = both.filter(alike)
    values = zip(given["fields@stored"].to_list(), given.select(names).rows(), strict=True)
    keys = [name.removeprefix("fields.") for name in names]
    kept = [_holds(load(text), keys, row) for text, row in values]
    return both.select(pl.col("record_id").is_in(given.filter(pl.Series(kept, dtype=pl.Boolean))["record_id"].implode())).to_series()


def _holds(stored: Mapping[str, Any], keys: Sequence[str], values: Sequence[Any]) -> bool:
    return all(stored.get(key) == value for key, value in zip(keys, values, strict=True))


def upserts_of(frames: Sequence[pl.DataFrame]) -> list[Upsert]:
    """Return the rows of frames (see `arrivals_of`) one by one, in their order; `sets_owner` is left open."""
    numbered: list[tuple[int, Upsert]] = []
    for frame in frames:
        roles = [name for name in frame.columns if name.startswith("related.")]
        names = [name for name in frame.columns if name.startswith("fields.")]
        attributes = [name for name in ATTRIBUTES if name in frame.columns]
        for row in frame.iter_rows(named=True):
            upsert = Upsert(
                row["record_id"],
                row["record_type"],
                {name.removeprefix("fields."): row[name] for name in names},
                {name: row[name] for name in attributes if row[name] is not None},
                {name.removeprefix("related."): row[name] for name in roles},
                owner=Owner(OwnerKind(row["owner_kind"]), row["owner_id"]) if row.get("owner_kind") else None,
            )
            numbered.append((row["row"], upsert))
    return [upsert for _, upsert in sorted(numbered, key=lambda pair: pair[0])]
