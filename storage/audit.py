"""The audit log: who changed the configuration or decided something by hand, from where, and what it was before and after.

It is only ever added to; the database refuses anything else, but that personal data is taken out of a line, which says so. Entries are
written in the transaction of what they are about: there is none for what did not happen, and nothing happens without one.
"""

from collections.abc import Iterable
from dataclasses import fields

from sqlalchemy import Connection, insert, select

from reallot.storage.documents import dump
from reallot.storage.entities import AuditEntry, Json, Signature
from reallot.storage.tables import audit

_NAMES = [f.name for f in fields(AuditEntry)]
Note = tuple[str, str, Json, Json]
"""Kind and id of what was changed, and what it was before and after; None = it did not exist."""


class AuditRepository:
    """The audit log of all workspaces, within one transaction. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._signature: Signature | None = None
        self._now_us = 0

    def sign(self, signature: Signature, now_us: int) -> None:
        """Have what follows in this transaction noted under a signature."""
        self._signature, self._now_us = signature, now_us

    @property
    def signer(self) -> str:
        """Who has signed for this transaction, as proved; "" if nobody has, or need not prove it."""
        return self._signature.principal if self._signature is not None else ""

    @property
    def is_noting(self) -> bool:
        """Whether what happens in this transaction is noted: it is if somebody has signed for it."""
        return self._signature is not None

    def note(self, workspace: str, notes: Iterable[Note]) -> None:
        """Note what was changed, unless before and after are the same; nothing while nobody has signed."""
        signature = self._signature
        if signature is None:
            return
        rows = [
            {
                "workspace": workspace,
                "time_us": self._now_us,
                **{f.name: getattr(signature, f.name) for f in fields(Signature)},
                "kind": kind,
                "id": name,
                "before": "" if before is None else dump(before),
                "after": "" if after is None else dump(after),
            }
            for kind, name, before, after in notes
            if before != after
        ]
        if rows:
            self._connection.execute(insert(audit), rows)

    def page(
        self,
        workspace: str,
        after: int,
        limit: int,
        *,
        principal: str = "",
        kind: str = "",
        name: str = "",
        from_us: int | None = None,
        to_us: int | None = None,
    ) -> list[AuditEntry]:
        """Return up to `limit` entries with a number above `after`, in order; "" and None leave a filter out, `to_us` is not included."""
        c = audit.c
        statement = select(audit).where(c.workspace == workspace, c.number > after).order_by(c.number).limit(limit)
        for column, value in ((c.principal, principal), (c.kind, kind), (c.id, name)):
            if value:
                statement = statement.where(column == value)
        if from_us is not None:
            statement = statement.where(c.time_us >= from_us)
        if to_us is not None:
            statement = statement.where(c.time_us < to_us)
        return [AuditEntry(**{field: row._mapping[field] for field in _NAMES}) for row in self._connection.execute(statement)]
