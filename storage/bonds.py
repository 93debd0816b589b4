"""What ties records to sellers beside present ownership: who had them before, who has others of the same key, what each was given."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from reallot.storage.among import among
from reallot.storage.dialect import fetched
from reallot.storage.documents import load
from reallot.storage.entities import OwnerKind
from reallot.storage.tables import decisions, records


class Given(NamedTuple):
    """A record that a seller owns by a rule, and when it was last tried."""

    rule_id: str
    seller_id: str
    time_us: int


class BondRepository:
    """Ties of all workspaces, within one transaction. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def former_owners(self, workspace: str, record_ids: Collection[str]) -> dict[str, set[str]]:
        """Return the sellers who owned records before, as far as the log of decisions reaches back, by record."""
        c = decisions.c
        wanted = select(c.record_id, c.before, c.after).where(c.workspace == workspace, among(c.record_id, record_ids), c.before != "null")
        found: dict[str, set[str]] = {}
        for record_id, before, after in fetched(self._connection, wanted):
            owner, then = (((load(text) or {}).get("owner") or {}).get("seller_id", "") for text in (before, after))
            if owner and owner != then:
                found.setdefault(record_id, set()).add(owner)
        return found

    def group_owners(self, workspace: str, keys: Collection[str]) -> list[tuple[str, str, int]]:
        """Return group key, seller, and how many active records of the key the seller owns."""
        c = records.c
        wanted = (
            select(c.group_key, c.owner_id, func.count())
            .where(c.workspace == workspace, among(c.group_key, keys), c.active, c.owner_kind == OwnerKind.SELLER.value)
            .group_by(c.group_key, c.owner_id)
        )
        return [(key, seller, count) for key, seller, count in fetched(self._connection, wanted)]

    def owned(self, workspace: str, record_type: str) -> list[tuple[str, str, str]]:
        """Return owner, fields and references, as JSON, of the active records of a type that sellers own."""
        c = records.c
        wanted = select(c.owner_id, c.fields, c.related).where(
            c.workspace == workspace, c.record_type == record_type, c.active, c.owner_kind == OwnerKind.SELLER.value
        )
        return [(owner, fields, related) for owner, fields, related in fetched(self._connection, wanted.order_by(c.record_id))]

    def given(self, workspace: str, rule_ids: Sequence[str], since_us: int) -> list[Given]:
        """Return the records, active or not, that sellers own by these rules and got at or after an instant, in that order."""
        c = records.c
        wanted = (
            select(c.rule_id, c.owner_id, c.last_attempt_us)
            .where(
                c.workspace == workspace, c.owner_kind == OwnerKind.SELLER.value, among(c.rule_id, rule_ids), c.last_attempt_us >= since_us
            )
            .order_by(c.last_attempt_us, c.record_id)
        )
        return [Given(*row) for row in fetched(self._connection, wanted)]
