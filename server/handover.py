"""Owners that people change: one record by hand, or everything that a seller who leaves has."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from reallot.server.config_groups import group_fault
from reallot.server.convert.records import state_text
from reallot.server.errors import invalid_field, not_found
from reallot.server.lanes import new_run_id, selection_text
from reallot.server.languages.saying import say
from reallot.server.offers import take_back
from reallot.server.road.change import freed_sellers, give_by_hand
from reallot.server.road.commit import limits_of
from reallot.server.road.events import event_of, parties_of
from reallot.server.runtime import request_rerun
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction, RecordFilter, WriteTransaction
from reallot.storage.entities import Claim, Decision, Outcome, Owner, OwnerKind, Record, Run, Seller, Transition
from reallot.v1 import run_pb2, seller_service_pb2


def owning_seller(tx: ReadTransaction, config: WorkspaceConfig, owner: Owner, field: str = "owner") -> Seller | None:
    """Return the seller who is to own records; None if it is a team or queue.

    Raises:
        ApiError: there is no such seller, team or queue, or it takes no part.
    """
    if owner.kind is OwnerKind.SELLER:
        seller = tx.sellers.get(config.workspace, [owner.id]).get(owner.id)
        if seller is None:
            raise not_found("seller", owner.id)
        return seller
    if (fault := group_fault(config, owner)) is not None:
        raise invalid_field(field, *fault)
    return None


def involved(records: Iterable[Record]) -> Iterator[Owner]:
    """Yield the owners of records, and the sellers who have offers of them."""
    for record in records:
        yield from parties_of(record)


def names_of_owners(tx: ReadTransaction, workspace: str, *owners: Owner | None) -> dict[str, str]:
    """Return what those of the owners who are sellers are called, by id."""
    ids = {owner.id for owner in owners if owner is not None and owner.kind is OwnerKind.SELLER}
    return {s.seller_id: s.name for s in tx.sellers.get(workspace, ids).values()}


@dataclass(frozen=True)
class Parties:
    """Who is behind owners: what sellers are called, by id, and the sellers of teams."""

    names: Mapping[str, str]
    members: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, tx: ReadTransaction, workspace: str, *owners: Owner | None) -> "Parties":
        """Return who is behind some owners."""
        teams = {owner.id for owner in owners if owner is not None and owner.kind is OwnerKind.TEAM}
        return cls(names_of_owners(tx, workspace, *owners), tx.sellers.members(workspace, teams))


def by_hand(
    config: WorkspaceConfig, before: Record, owner: Owner | None, reason: str, claim: Claim | None, *, now_us: int, parties: Parties
) -> Transition:
    """Return how a person gives a record to an owner, or takes it from one."""
    after = give_by_hand(before, owner)
    cause = {"kind": "MANUAL", "detail": reason}
    told = reason or after.reason or say("owner_set_by_hand")
    return Transition(
        before,
        after,
        claim=claim,
        counts_turn=owner is not None and after.record_type in config.counted_types,
        event=event_of(
            before,
            after,
            config=config,
            time_us=now_us,
            cause=cause,
            quiet=config.settings.paused,
            names=parties.names,
            members=parties.members,
        ),
        decision=Decision(before.record_id, now_us, cause, after.assignment, told, state_text(before), state_text(after)),
    )


def retire(
    tx: WriteTransaction, config: WorkspaceConfig, seller_id: str, successor: Owner | None
) -> seller_service_pb2.RetireSellerResponse:
    """Take a seller out of every assignment and hand over what the seller works: to a successor, or to a run of the rules.

    Raises:
        ApiError: there is no such seller or successor, or the successor has no room for everything; then nothing is to be kept.
    """
    workspace, leaving = config.workspace, Owner(OwnerKind.SELLER, seller_id)
    seller = tx.sellers.get(workspace, [seller_id]).get(seller_id)
    if seller is None:
        raise not_found("seller", seller_id)
    if successor == leaving:
        raise invalid_field("successor", "a seller cannot take over from oneself")
    heir = owning_seller(tx, config, successor, "successor") if successor is not None else None
    if heir is not None and not (heir.assignable and heir.roles_ok):
        raise invalid_field("successor", f"seller {heir.seller_id!r} does not take records")
    if seller.assignable:
        tx.sellers.upsert(workspace, [replace(seller, assignable=False, version=seller.version + 1, update_us=tx.now_us)])
        tx.signal(workspace, "sellers")
    take_back(tx, config, [seller_id], _leaves)
    owned = RecordFilter(owner=leaving, active=True)
    records = tx.records.page(workspace, owned, limit=max(1, tx.records.count(workspace, owned)))
    _hand_over(tx, config, records, seller, heir, successor)
    run_id = _ask_rules(tx, config, records, seller) if records and successor is None else ""
    return seller_service_pb2.RetireSellerResponse(records=len(records), run_id=run_id)


def _leaves(seller: str) -> str:
    return say("seller_leaves", seller=seller)


def _hand_over(
    tx: WriteTransaction, config: WorkspaceConfig, records: list[Record], seller: Seller, heir: Seller | None, successor: Owner | None
) -> None:
    reason = _leaves(seller.name)
    claim = Claim(limits_of(heir, config, tx.now_us)) if heir is not None else None
    parties = Parties.of(tx, config.workspace, Owner(OwnerKind.SELLER, seller.seller_id), successor)
    made = [by_hand(config, record, successor, reason, claim, now_us=tx.now_us, parties=parties) for record in records]
    lost = tx.commit_records(config.workspace, made).count(Outcome.CAPACITY_LOST)
    if lost:
        raise invalid_field("successor", f"there is no room for {lost} of the {len(records)} records")
    if successor is not None:
        request_rerun(tx, config, "CAPACITY_FREED", freed_sellers((t.before, t.after) for t in made))


def _ask_rules(tx: WriteTransaction, config: WorkspaceConfig, records: list[Record], seller: Seller) -> str:
    selection = run_pb2.RunSelection(record_ids=[record.record_id for record in records])
    cause = {"kind": "RUN", "detail": _leaves(seller.name), "resegment": False}
    run = Run(new_run_id(), "MANUAL", "PENDING", cause, selection_text(selection), create_us=tx.now_us)
    tx.runs.create(config.workspace, run)
    tx.signal(config.workspace, "runs")
    return run.run_id
