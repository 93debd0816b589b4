"""Who acts: travels with a call, from the guard to the unit of work that it asks for."""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from reallot.server.access.principals import Principal
from reallot.server.errors import not_found
from reallot.server.idempotency import KEPT_US
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.entities import OwnerKind, Signature, open_offer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OwnedRecord:
    """A record that one of some sellers must own, or be offered, for a call to be carried out."""

    workspace: str
    record_id: str
    sellers: frozenset[str]
    offered: bool = False

    def require(self, tx: ReadTransaction) -> None:
        """Do nothing if one of the sellers owns it, or is offered it where that will do.

        Raises:
            ApiError: RECORD_NOT_FOUND, whether it exists or not.
        """
        record = tx.records.get(self.workspace, [self.record_id]).get(self.record_id)
        if record is not None:
            if record.owner is not None and record.owner.kind is OwnerKind.SELLER and record.owner.id in self.sellers:
                return
            if self.offered and open_offer(record) in self.sellers:
                return
        raise not_found("record", self.record_id)


@dataclass(frozen=True, slots=True)
class Act:
    """A call that changes the configuration, or decides something by hand.

    Attributes:
        signature: Who acts, for the audit log.
        owned: What must be so when it is carried out; None = nothing more.
        request_id: With which it is safe to repeat; "" = it is not.
    """

    signature: Signature
    owned: OwnedRecord | None = None
    request_id: str = ""

    def require(self, tx: WriteTransaction) -> None:
        """Do nothing if it may be carried out by now, or was carried out before: then it is only answered again.

        Raises:
            ApiError: RECORD_NOT_FOUND.
        """
        if self.owned is None:
            return
        workspace = self.owned.workspace
        answered = tx.requests.find(workspace, [self.request_id]).get(self.request_id) if self.request_id else None
        if answered is None or answered.time_us < tx.now_us - KEPT_US:
            self.owned.require(tx)


CALLER: ContextVar[Principal | None] = ContextVar("caller", default=None)
"""Who makes the present call; None where that is not known, or not known yet."""
ACT: ContextVar[Act | None] = ContextVar("act", default=None)
"""The act that the present call is; None for calls that are none, and for what the server does by itself."""


def acting(function: Callable[[WriteTransaction], T]) -> Callable[[WriteTransaction], T]:
    """Return the unit of work of the present call, which signs for what it does, and for which what must be so is."""
    act = ACT.get()
    if act is None:
        return function

    def work(tx: WriteTransaction) -> T:
        act.require(tx)
        tx.audit.sign(act.signature, tx.now_us)
        return function(tx)

    return work
