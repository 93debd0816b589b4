"""Offers of records to sellers: how they are answered, fall due and are taken back, and who is out of the pool for letting them run out."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from reallot.server.convert.records import state_text
from reallot.server.convert.sellers import calendar_of
from reallot.server.due import DueLoop
from reallot.server.errors import failed_precondition, not_found
from reallot.server.languages.saying import say
from reallot.server.road.change import freed_sellers
from reallot.server.road.events import event_of
from reallot.server.road.offers import AWAY, DECLINED, EXPIRED, LAPSED, out_after, times_of
from reallot.server.runtime import request_rerun
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.entities import (
    Decision,
    EventDraft,
    Offer,
    Owner,
    OwnerKind,
    PendingMark,
    Record,
    Transition,
    Unanswered,
    open_offer,
)
from reallot.storage.offers import OfferStep

BATCH = 500
"""Most offers that one commit ends or reminds of."""


class OfferLoop(DueLoop):
    """Ends offers that nobody answers, and reminds of those that wait."""

    TOPIC = "offers"

    @staticmethod
    def next_due(tx: ReadTransaction) -> list[tuple[str, int]]:
        """Return when the first end or reminder of each workspace is due."""
        return tx.offers.next_due()

    @staticmethod
    def carry_out(tx: WriteTransaction, config: WorkspaceConfig) -> bool:
        """End or remind of a part of what is due."""
        due = tx.offers.due(config.workspace, tx.now_us, BATCH)
        records = tx.records.get(config.workspace, [offer.record_id for offer in due])
        stands = [offer for offer in due if open_offer(records.get(offer.record_id)) == offer.seller_id]
        # No writer leaves such an offer behind; one that a restored backup brings must not be due for ever.
        gone = [(offer.record_id, OfferStep(offer.seller_id)) for offer in due if offer not in stands]
        tx.offers.step(config.workspace, gone, tx.now_us)
        ended = [offer for offer in stands if offer.end_us <= tx.now_us]
        _run_out(tx, config, ended, records)
        _remind(tx, config, [offer for offer in stands if offer.end_us > tx.now_us], records)
        return len(due) == BATCH


def _run_out(tx: WriteTransaction, config: WorkspaceConfig, offers: Sequence[Offer], records: Mapping[str, Record]) -> None:
    names = names_of_sellers(tx, config, [offer.seller_id for offer in offers])
    made = [_ended(config, records[o.record_id], o, _why_ended(o.ends_as, names[o.seller_id]), o.ends_as, names, tx.now_us) for o in offers]
    _commit(tx, config, made)
    passed = [offer for offer in offers if offer.ends_as == EXPIRED]
    _note_unanswered(tx, config, passed)


def _why_ended(ends_as: str, seller: str) -> str:
    if ends_as == EXPIRED:
        return say("no_answer_in_time", seller=seller)
    return say("went_away", seller=seller) if ends_as == AWAY else say("claim_lapsed", seller=seller)


def _note_unanswered(tx: WriteTransaction, config: WorkspaceConfig, passed: Sequence[Offer]) -> None:
    known = tx.offers.unanswered(config.workspace, {offer.seller_id for offer in passed})
    for offer in passed:
        row = known.get(offer.seller_id, Unanswered(offer.seller_id, 0, None))
        row = replace(row, offers=row.offers + 1)
        if row.since_us is None and 0 < out_after(config.rules.get(offer.rule_id)) <= row.offers:
            row = replace(row, since_us=tx.now_us)
        known[offer.seller_id] = row
    if passed:
        tx.offers.note_unanswered(config.workspace, list(known.values()))
        tx.signal(config.workspace, "sellers")


def _remind(tx: WriteTransaction, config: WorkspaceConfig, offers: Sequence[Offer], records: Mapping[str, Record]) -> None:
    names = names_of_sellers(tx, config, [offer.seller_id for offer in offers])
    drafts = []
    for offer in offers:
        record, name = records[offer.record_id], names[offer.seller_id]
        title = config.title(record.record_type, record.record_id, record.fields)
        until = f"{datetime.fromtimestamp(offer.end_us // 1_000_000, UTC):%Y-%m-%d %H:%M} UTC"
        sentence = {
            "sentence_id": "offer_reminder",
            "parameters": {"record": title, "offered": name, "until": until},
        }
        state, cause = state_text(record), {"kind": "OFFER", "detail": say("offer_not_answered")}
        told = (offer.seller_id,)
        drafts.append(
            EventDraft(
                "OFFERED", record.record_id, record.record_type, tx.now_us, state, state, cause=cause, sentence=sentence, notify=told
            )
        )
    if drafts:
        tx.events.append(config.workspace, drafts)
        tx.offers.reschedule(config.workspace, [replace(offer, remind_us=None) for offer in offers])
        tx.signal(config.workspace, "events")


def _ended(
    config: WorkspaceConfig,
    before: Record,
    offer: Offer,
    why: str,
    as_state: str,
    names: Mapping[str, str],
    now_us: int,
    *,
    told: bool = True,
) -> Transition:
    """Return how an offer ends: the rules look for the next seller, but what was claimed goes back to where it waited."""
    claimed = offer.ends_as == LAPSED
    after = replace(before, offered_to="", assignment=offer.status_before if claimed else "WAITING", reason=why)
    cause = {"kind": "OFFER", "detail": why}
    quiet = not told or config.settings.paused
    again = {**cause, "resegment": False} | ({} if claimed else {"goes_on": True})
    return Transition(
        before,
        after,
        event=event_of(before, after, config=config, time_us=now_us, cause=cause, names=names, quiet=quiet),
        decision=Decision(before.record_id, now_us, cause, after.assignment, why, state_text(before), state_text(after), before.rule_id),
        mark=PendingMark(before.record_id, now_us, again) if before.owner is None else None,
        offer_end="" if claimed else as_state,
    )


def _commit(tx: WriteTransaction, config: WorkspaceConfig, made: Sequence[Transition]) -> None:
    if made:
        tx.commit_records(config.workspace, made)
        request_rerun(tx, config, "CAPACITY_FREED", freed_sellers((t.before, t.after) for t in made))


def respond(tx: WriteTransaction, config: WorkspaceConfig, record_id: str, seller_id: str, *, accept: bool, reason: str) -> None:
    """Have a seller accept or decline the offer of a record.

    Raises:
        ApiError: there is no such record or seller, or the record is not offered to the seller, or not any more.
    """
    record = tx.records.get(config.workspace, [record_id]).get(record_id)
    if record is None:
        raise not_found("record", record_id)
    if not tx.sellers.get(config.workspace, [seller_id]):
        raise not_found("seller", seller_id)
    offer = offer_of(tx, config, record, seller_id)
    names = names_of_sellers(tx, config, [seller_id])
    seller = names[seller_id]
    claimed = offer.ends_as == LAPSED
    why = say("accepted", seller=seller) if accept else say("gave_back", seller=seller) if claimed else say("declined", seller=seller)
    why = say("with_reason", what=why, reason=reason) if reason else why
    if accept:
        tx.commit_records(config.workspace, [_accepted(config, record, offer, why, names, tx.now_us)])
    else:
        _commit(tx, config, [_ended(config, record, offer, why, DECLINED, names, tx.now_us, told=False)])
    come_back(tx, config, [seller_id])


def offer_of(tx: ReadTransaction, config: WorkspaceConfig, record: Record, seller_id: str) -> Offer:
    """Return the open offer of a record to a seller.

    Raises:
        ApiError: there is none, or not any more.
    """
    found = tx.offers.open(config.workspace, record_id=record.record_id)
    if open_offer(record) != seller_id or not found:
        text = f"record {record.record_id!r} is not offered to seller {seller_id!r}, or not any more"
        raise failed_precondition("OFFER_NOT_OPEN", text, record=record.record_id, seller=seller_id)
    return found[0]


def _accepted(config: WorkspaceConfig, before: Record, offer: Offer, why: str, names: Mapping[str, str], now_us: int) -> Transition:
    after = replace(
        before,
        owner=Owner(OwnerKind.SELLER, offer.seller_id),
        previous_owner=before.owner or before.previous_owner,
        offered_to="",
        assignment="ASSIGNED",
        reason=why,
        rule_id=offer.rule_id,
        next_try_us=None,
        overdue_us=None,
    )
    cause = {"kind": "OFFER", "detail": why}
    return Transition(
        before,
        after,
        # Who is offered something has had his turn then.
        counts_turn=offer.ends_as == LAPSED and after.record_type in config.counted_types,
        event=event_of(before, after, config=config, time_us=now_us, cause=cause, names=names, quiet=config.settings.paused),
        decision=Decision(before.record_id, now_us, cause, after.assignment, why, state_text(before), state_text(after), after.rule_id),
    )


def take_back(tx: WriteTransaction, config: WorkspaceConfig, seller_ids: Collection[str], why: Callable[[str], str]) -> int:
    """End the open offers of sellers who take no records any more; `why` says of each, by name, why. Return how many ended."""
    offers = tx.offers.open(config.workspace, seller_ids=seller_ids) if seller_ids else []
    records = tx.records.get(config.workspace, [offer.record_id for offer in offers])
    names = names_of_sellers(tx, config, seller_ids)
    made = [_ended(config, records[o.record_id], o, why(names[o.seller_id]), "", names, tx.now_us) for o in offers]
    _commit(tx, config, made)
    return len(made)


def reschedule(tx: WriteTransaction, config: WorkspaceConfig, seller_ids: Collection[str]) -> None:
    """Count anew when the open offers of sellers end, whose working time has changed."""
    offers = tx.offers.open(config.workspace, seller_ids=seller_ids)
    if not offers:
        return
    sellers = tx.sellers.get(config.workspace, seller_ids)
    away: dict[str, list[tuple[int, int]]] = {}
    for row in tx.sellers.time_off(config.workspace, min(offer.start_us for offer in offers), seller_ids):
        away.setdefault(row.seller_id, []).append((row.start_us, row.end_us))
    counted = []
    for offer in offers:
        rule = config.rules.get(offer.rule_id)
        if rule is not None and rule.message.HasField("offer") and offer.ends_as != LAPSED:
            calendar = calendar_of(sellers[offer.seller_id].calendar, tuple(away.get(offer.seller_id, ())))
            times = times_of(rule.message.offer, calendar, offer.start_us, tx.now_us)
            reminds = times.remind_us if offer.remind_us is not None else None
            counted.append(replace(offer, remind_us=reminds, end_us=times.end_us, ends_as=times.ends_as))
    tx.offers.reschedule(config.workspace, counted)
    tx.signal(config.workspace, "offers")


def come_back(tx: WriteTransaction, config: WorkspaceConfig, seller_ids: Iterable[str]) -> int:
    """Note that sellers are there; return how many were out of the pool and are in it again."""
    back = tx.offers.note_answered(config.workspace, list(seller_ids))
    if back:
        out, there = {"not_responding": True}, {"not_responding": False}
        tx.audit.note(config.workspace, [("seller", name, out, there) for name in sorted(back)])
        request_rerun(tx, config, "SELLER_AVAILABLE", back)
        tx.signal(config.workspace, "sellers")
    return len(back)


def silence_of(row: Unanswered) -> str:
    """Return why a seller is out of the pool, for people."""
    return say("let_offers_run_out", offers=row.offers)


def names_of_sellers(tx: ReadTransaction, config: WorkspaceConfig, seller_ids: Iterable[str]) -> dict[str, str]:
    """Return what sellers are called, by id."""
    wanted = set(seller_ids)
    found = tx.sellers.get(config.workspace, wanted)
    return {s: found[s].name if s in found else s for s in sorted(wanted)}
