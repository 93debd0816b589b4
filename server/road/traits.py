"""What rules ask of a record beside its fields, as columns beside these: whose it is and was, who has its like, what no longer counts.

Columns are named `record.#…`, which no field can be called. Reads, decides nothing.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from reallot.server.road.offers import starts_anew, still_counting
from reallot.server.road.work import Work
from reallot.server.workspace_config import RuleConfig, SegmentConfig, WorkspaceConfig
from reallot.solver.segmentation import NEVER, Condition, frame_from_json, next_change, next_change_among
from reallot.storage import ReadTransaction, RecordColumns
from reallot.storage.documents import load
from reallot.storage.entities import OwnerKind, Record
from reallot.storage.rechecks import Recheck
from reallot.v1 import segment_pb2

OWNER, FORMER, KEEPER, ASKED = "record.#owner", "record.#former", "record.#keeper:", "record.#asked"
"""Seller id of the present owner; ids of former owners, each between line breaks; seller id of who has most of the same key; ids of
those whose offer of it has ended, each between line breaks."""
GROUP_KEY = "group_key"


@dataclass(frozen=True)
class Subjects:
    """Records of one type, in parallel lists; owners are seller ids, "" = none; with `anew` everybody may be asked again."""

    record_id: Sequence[str]
    owner: Sequence[str]
    previous_owner: Sequence[str]
    group_key: Sequence[str]
    waiting_since_us: Sequence[int]
    anew: Sequence[bool]


def subjects_of(records: RecordColumns, rows: npt.NDArray[np.int64], now_us: int, task_kind: str) -> Subjects:
    """Return the records in some rows of a snapshot; one that has not waited yet waits from now on."""

    def sellers(kinds: Sequence[str], ids: Sequence[str]) -> list[str]:
        return [ids[row] if kinds[row] == OwnerKind.SELLER.value else "" for row in rows]

    since = [records.waiting_since_us[row] for row in rows]
    return Subjects(
        [records.record_id[row] for row in rows],
        sellers(records.owner_kind, records.owner_id),
        sellers(records.previous_owner_kind, records.previous_owner_id),
        [records.group_key[row] for row in rows],
        [now_us if waits is None else waits for waits in since],
        [starts_anew(task_kind, records.assignment[row]) for row in rows],
    )


def subjects_of_records(records: Sequence[Record], now_us: int) -> Subjects:
    """Return records of one type."""
    owners, previous = (
        ["" if o is None or o.kind is not OwnerKind.SELLER else o.id for o in some]
        for some in ([r.owner for r in records], [r.previous_owner for r in records])
    )
    since = [now_us if r.waiting_since_us is None else r.waiting_since_us for r in records]
    return Subjects([r.record_id for r in records], owners, previous, [r.group_key for r in records], since, [False] * len(records))


def with_traits(
    tx: ReadTransaction, config: WorkspaceConfig, record_type: str, frame: pl.DataFrame, subjects: Subjects, now_us: int
) -> pl.DataFrame:
    """Return the columns of records with those that the rules of their type ask for beside fields."""
    rules = [rule for segment in config.segments_by_type.get(record_type, ()) for rule in segment.rules]
    columns: list[pl.Series] = []
    if any(rule.message.policy == segment_pb2.POLICY_CHEAPEST_CHANGE for rule in rules):
        columns.append(pl.Series(OWNER, [owner or None for owner in subjects.owner], dtype=pl.String))
    if any(rule.message.exclusions.previous_owners for rule in rules):
        columns.append(pl.Series(FORMER, _former(tx, config.workspace, subjects), dtype=pl.String))
    for by in sorted({rule.message.sticky.by for rule in rules if rule.message.HasField("sticky")}):
        columns.append(pl.Series(f"{KEEPER}{by}", _keepers(tx, config, record_type, by, frame, subjects), dtype=pl.String))
    if any(rule.message.HasField("offer") for rule in rules):
        columns.append(pl.Series(ASKED, _asked(tx, config.workspace, subjects), dtype=pl.String))
    columns += [_steps(rule, subjects, now_us) for rule in rules if rule.message.relax]
    return frame.with_columns(columns)


def together(segment: SegmentConfig, group_keys: Sequence[str], frame: pl.DataFrame) -> list[str]:
    """Return names that records share which go to one owner or to nobody: those of one group key, and of one key that a rule requires.

    "" = the record goes alone. Roles bind records only to whoever has their like: a batch does not read what others refer to.
    """
    required = [rule.message.sticky.by for rule in segment.rules if rule.message.HasField("sticky") and rule.message.sticky.required]
    names = [f"{GROUP_KEY}\n{key}" if key else "" for key in group_keys]
    for by in required:
        if f"record.{by}" not in frame.columns:
            continue
        kind, values = segment.message.record_type, frame[f"record.{by}"].cast(pl.String).to_list()
        names = [name or (f"{kind}.{by}\n{value}" if value else "") for name, value in zip(names, values, strict=True)]
    return names


Frames = Mapping[str, tuple[npt.NDArray[np.int64], pl.DataFrame]]
"""Columns that rules read, by record type, with their rows."""


def note_steps(work: Work, waiting: Sequence[int], frames: Frames, takers: Mapping[str, Callable[[], pl.DataFrame]]) -> None:
    """Have records that keep waiting, given by their rows, looked at again when their rules may have another answer.

    That is when the next requirement falls away, and when the answer of a rule's condition, or of one about whom it gives to, can change
    with the clock. `takers` give the columns of sellers, teams and queues, by what conditions call them.
    """
    records, now_us = work.records, work.task.now_us
    noted = {recheck.record_id: index for index, recheck in enumerate(work.rechecks)}
    rolling = _rolling_rules(work, waiting, frames, takers)
    for row in waiting:
        segment = work.config.segments.get(str(work.segment[row]))
        waits = [part.after.ToMicroseconds() for rule in (segment.rules if segment else ()) for part in rule.message.relax]
        since_us = now_us if records.waiting_since_us[row] is None else int(records.waiting_since_us[row] or 0)
        following = [since_us + wait for wait in waits if since_us + wait > now_us]
        due_us = min([*following, *([rolling[row]] if row in rolling else [])], default=None)
        if due_us is None:
            continue
        index = noted.get(records.record_id[row], len(work.rechecks))
        earlier = work.rechecks[index].due_us if index < len(work.rechecks) else None
        found = Recheck(records.record_id[row], records.version[row], due_us if earlier is None else min(earlier, due_us))
        work.rechecks[index : index + 1] = [found]


def _rolling_rules(work: Work, waiting: Sequence[int], frames: Frames, takers: Mapping[str, Callable[[], pl.DataFrame]]) -> dict[int, int]:
    """Return by row when what a segment's rules ask about a record can have another answer with the clock alone."""
    found: dict[int, int] = {}
    for segment in work.config.segments.values():
        asked = [rule.condition for rule in segment.rules if rule.condition is not None and rule.condition.crossings]
        of_pairs = {root: [c for c in some if c.crossings] for root, some in _asked_of(segment.rules).items()}
        here = np.array([row for row in waiting if work.segment[row] == segment.id], dtype=np.int64)
        if not len(here) or not (asked or any(of_pairs.values())):
            continue
        rows, columns = frames[segment.message.record_type]
        frame, now_us = columns[np.searchsorted(rows, here)], work.task.now_us
        due = next_change(asked, frame, now_us=now_us)
        for root, conditions in of_pairs.items():
            if conditions:
                due = np.minimum(due, next_change_among(conditions, frame, takers[root](), now_us=now_us))
        found.update((row, due_us) for row, due_us in zip(here.tolist(), due.tolist(), strict=True) if due_us != NEVER)
    return found


def _asked_of(rules: Sequence[RuleConfig]) -> dict[str, list[Condition]]:
    """Return the conditions that decide whom rules may give a record to, by what they call who gets it."""
    found: dict[str, list[Condition]] = {}
    for rule in rules:
        found.setdefault("seller", []).extend(c for c in (rule.target, rule.conflict) if c is not None)
        if rule.group is not None and rule.group.condition is not None:
            found.setdefault(rule.group.kind, []).append(rule.group.condition)
    return found


def _former(tx: ReadTransaction, workspace: str, subjects: Subjects) -> list[str]:
    logged = tx.bonds.former_owners(workspace, subjects.record_id)
    found = []
    for record_id, previous in zip(subjects.record_id, subjects.previous_owner, strict=True):
        names = logged.get(record_id, set()) | ({previous} if previous else set())
        found.append("\n".join(["", *sorted(names), ""]))
    return found


def _asked(tx: ReadTransaction, workspace: str, subjects: Subjects) -> list[str]:
    since = {r: s for r, s, anew in zip(subjects.record_id, subjects.waiting_since_us, subjects.anew, strict=True) if not anew}
    asked = still_counting(tx.offers.ended(workspace, subjects.record_id), since)
    return ["\n".join(["", *asked[record_id], ""]) if record_id in asked else "" for record_id in subjects.record_id]


def _steps(rule: RuleConfig, subjects: Subjects, now_us: int) -> pl.Series:
    after = sorted(part.after.ToMicroseconds() for part in rule.message.relax)
    passed = [sum(now_us - since >= wait for wait in after) for since in subjects.waiting_since_us]
    return pl.Series(f"record.{rule.step_column}", passed, dtype=pl.Int64)


def _keepers(
    tx: ReadTransaction, config: WorkspaceConfig, record_type: str, by: str, frame: pl.DataFrame, subjects: Subjects
) -> list[str | None]:
    if by == GROUP_KEY:
        counts: dict[tuple[object, str], int] = {
            (key, seller): n for key, seller, n in tx.bonds.group_owners(config.workspace, {k for k in subjects.group_key if k})
        }
        return _most(counts, [key or None for key in subjects.group_key])
    owned = tx.bonds.owned(config.workspace, record_type)
    if by in config.record_types[record_type].roles:
        targets = tx.related.targets(config.workspace, subjects.record_id)
        held = [load(related).get(by) for _, _, related in owned]
        keys: list[object | None] = [targets.get(record_id, {}).get(by) or None for record_id in subjects.record_id]
    else:
        schema = config.record_types[record_type].schema
        held = frame_from_json("record", schema, [fields for _, fields, _ in owned], only=[by])[f"record.{by}"].to_list()
        keys = frame[f"record.{by}"].to_list()
    return _most(Counter((key, owner) for (owner, _, _), key in zip(owned, held, strict=True) if key not in (None, "")), keys)


def _most(counts: Mapping[tuple[object, str], int], keys: Sequence[object | None]) -> list[str | None]:
    """Return for each key the seller who has most of it, of several the first by id; None where nobody has any."""
    best: dict[object, tuple[int, str]] = {}
    for (key, seller), count in counts.items():
        best[key] = min(best.get(key, (0, "")), (-count, seller))
    return [best[key][1] if key in best else None for key in keys]
