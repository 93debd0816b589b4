"""Why moves that a preview has shown are not made when it is applied: found when the run ends, as everything stands then."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reallot.server.convert.records import state_text
from reallot.server.road.commit import limits_of
from reallot.server.road.showing import taker_of
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import WriteTransaction
from reallot.storage.capacity import LoadAccount, settle, weight_of
from reallot.storage.documents import load
from reallot.storage.entities import Outcome, Owner, OwnerKind, Record, Seller
from reallot.storage.previews import Preview

PART = 1_000
"""Moves that are looked at at once."""
STOPPED, OTHER_SEGMENT, NOT_ELIGIBLE = "STOPPED", "OTHER_SEGMENT", "NOT_ELIGIBLE"


def note_dropped(tx: WriteTransaction, config: WorkspaceConfig, run_id: str, *, stopped: bool) -> int:
    """Note why the moves of a run that are still to be made were not, and return how many were dropped in all."""
    workspace, after_id = config.workspace, ""
    while rows := tx.previews.page(workspace, run_id, after_id, PART):
        after_id = rows[-1].record_id
        # That the rule does not choose somebody may have a reason of its own.
        open_ = [row for row in rows if row.dropped in ("", NOT_ELIGIBLE)]
        found = dict.fromkeys((row.record_id for row in open_), STOPPED) if stopped else _reasons(tx, config, open_)
        tx.previews.drop(workspace, run_id, {record_id: reason for record_id, reason in found.items() if reason})
        tx.previews.forget_made(workspace, run_id, [record_id for record_id, reason in found.items() if not reason])
    return tx.previews.dropped(workspace, run_id)


def _reasons(tx: WriteTransaction, config: WorkspaceConfig, rows: Sequence[Preview]) -> dict[str, str]:
    records = tx.records.get(config.workspace, [row.record_id for row in rows])
    states = {row.record_id: load(row.after) for row in rows}
    takers = {taker[1] for state in states.values() if (taker := taker_of(state)) is not None and taker[0] == "SELLER"}
    sellers = tx.sellers.get(config.workspace, takers)
    account = tx.loads_of(config.workspace, sorted({*sellers, *_owners(records.values())}))
    found = {}
    for row in rows:
        record = records.get(row.record_id)
        if record is None:
            found[row.record_id] = "DELETED"
        elif record.version != row.version:
            found[row.record_id] = _what_happened(record, load(row.before))
        elif state_text(record) == row.after:
            found[row.record_id] = ""
        else:
            reason = _what_is_in_the_way(tx, config, record, states[row.record_id], sellers, account)
            goes_nowhere = reason == NOT_ELIGIBLE and not row.dropped
            is_elsewhere = states[row.record_id].get("segment_id", "") != record.segment_id
            found[row.record_id] = OTHER_SEGMENT if goes_nowhere and is_elsewhere else reason
    return found


def _owners(records: Any) -> set[str]:
    return {record.owner.id for record in records if record.owner is not None and record.owner.kind is OwnerKind.SELLER}


def _what_happened(record: Record, before: Any) -> str:
    if not record.active:
        return "CLOSED"
    owner = (record.owner.kind.value, record.owner.id) if record.owner is not None else None
    return "CHANGED" if owner == taker_of({**before, "offered_seller_id": ""}) else "OWNER_CHANGED"


def _what_is_in_the_way(
    tx: WriteTransaction, config: WorkspaceConfig, record: Record, shown: Any, sellers: dict[str, Seller], account: LoadAccount
) -> str:
    taker, place = taker_of(shown), shown.get("segment_id", "")
    own = (record.owner.kind.value, record.owner.id) if record.owner is not None else None
    if taker is None or taker == own:
        # Nothing but its segment, or the reason why it waits, would be another.
        return OTHER_SEGMENT if place != record.segment_id else ""
    kind, name = taker
    if kind != "SELLER":
        if config.find(kind.lower(), name) is None:
            return "TAKER_GONE"
        return NOT_ELIGIBLE if config.takes_records(kind.lower(), name) else "TAKER_SWITCHED_OFF"
    seller, rule = sellers.get(name), config.rules.get(shown.get("rule_id", ""))
    if seller is None:
        return "TAKER_GONE"
    if not (seller.assignable and seller.roles_ok):
        return "TAKER_SWITCHED_OFF"
    moved = replace(record, owner=Owner(OwnerKind.SELLER, name), segment_id=place)
    before, after = weight_of(record), weight_of(moved)
    if rule is not None and rule.use_capacity:
        if settle(account, [(before, after, limits_of(seller, config, tx.now_us))]) != [Outcome.COMMITTED]:
            return "NO_CAPACITY"
        account.move(after, before, 1)
    return NOT_ELIGIBLE
