"""Who acts: travels with a call, from the guard to the unit of work that it asks for."""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from reallot.server.access.principals import Principal
from reallot.server.errors import not_found
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.entities import OwnerKind, Signature

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OwnedRecord:
    """A record that one of some sellers must own for a call to be carried out."""

    workspace: str
    record_id: str
    sellers: frozenset[str]

    def require(self, tx: ReadTransaction) -> None:
        """Do nothing if one of the sellers owns it.

        Raises:
            ApiError: RECORD_NOT_FOUND, whether it exists or not.
        """
        record = tx.records.get(self.workspace, [self.record_id]).get(self.record_id)
        owner = record.owner if record is not None else None
        if owner is None or owner.kind is not OwnerKind.SELLER or owner.id not in self.sellers:
            raise not_found("record", self.record_id)


@dataclass(frozen=True, slots=True)
class Act:
    """A call that changes the configuration, or decides something by hand.

    Attributes:
        signature: Who acts, for the audit log.
        owned: What must be so when it is carried out; None = nothing more.
    """

    signature: Signature
    owned: OwnedRecord | None = None


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
        if act.owned is not None:
            act.owned.require(tx)
        tx.audit.sign(act.signature, tx.now_us)
        return function(tx)

    return work
