"""Removals under way, of a workspace or of what is kept about a person. They go piece by piece, and are finished whatever happens.

A removal is noted with its first piece and forgotten with its last, so one whose server was killed is found by the next.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select, update

from reallot.storage.documents import dump, load
from reallot.storage.entities import Json
from reallot.storage.tables import erasures, replicas


@dataclass(frozen=True, slots=True)
class Erasure:
    """A removal.

    Attributes:
        workspace: The workspace.
        subject: What goes: "workspace", or kind and id of a person.
        request: Who asked for it, as the bytes of the request.
        state: What is to be known to go on, with the rows that are removed by now (`counts`).
        replica: The server that is at it.
    """

    workspace: str
    subject: str
    request: bytes
    state: dict[str, Any]
    replica: str


class ErasureRepository:
    """Removals in all workspaces, within one transaction. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, workspace: str, subject: str) -> Erasure | None:
        """Return a removal that is under way."""
        c = erasures.c
        row = self._connection.execute(select(erasures).where(c.workspace == workspace, c.subject == subject)).first()
        return _erasure(row) if row is not None else None

    def is_under_way(self, workspace: str) -> bool:
        """Tell whether something of a workspace is being removed."""
        return self._connection.execute(select(erasures.c.subject).where(erasures.c.workspace == workspace)).first() is not None

    def begin(self, erasure: Erasure) -> Erasure:
        """Note a removal; return the one of the same subject that is under way already, if there is one."""
        found = self.get(erasure.workspace, erasure.subject)
        if found is not None:
            return found
        values = {"workspace": erasure.workspace, "subject": erasure.subject, "request": erasure.request, "replica": erasure.replica}
        self._connection.execute(insert(erasures).values(**values, state=dump(erasure.state)))
        return erasure

    def count(self, workspace: str, subject: str, table: str, rows: int) -> None:
        """Note that rows of a table were removed."""
        found = self.get(workspace, subject)
        if found is None or not rows:
            return
        counts = Counter({table: rows})
        counts.update(found.state.get("counts", {}))
        self._update(workspace, subject, state=dump(found.state | {"counts": dict(counts)}))

    def end(self, workspace: str, subject: str) -> dict[str, Json] | None:
        """Forget a removal that is done, and return its state; None if somebody has done so before."""
        found = self.get(workspace, subject)
        if found is None:
            return None
        c = erasures.c
        self._connection.execute(delete(erasures).where(c.workspace == workspace, c.subject == subject))
        return found.state

    def end_all(self, workspace: str) -> None:
        """Forget everything that is being removed of a workspace."""
        self._connection.execute(delete(erasures).where(erasures.c.workspace == workspace))

    def left_behind(self, replica: str) -> list[Erasure]:
        """Return the removals of this server and of servers that are gone."""
        c = erasures.c
        statement = select(erasures).where(or_(c.replica == replica, c.replica.not_in(select(replicas.c.replica_id))))
        return [_erasure(row) for row in self._connection.execute(statement.order_by(c.workspace, c.subject))]

    def take_over(self, erasure: Erasure, replica: str) -> bool:
        """Have a server finish what another has begun; return whether it is the first to do so."""
        c = erasures.c
        mine = (c.workspace == erasure.workspace, c.subject == erasure.subject, c.replica == erasure.replica)
        return self._connection.execute(update(erasures).where(*mine).values(replica=replica)).rowcount > 0

    def _update(self, workspace: str, subject: str, **values: Any) -> None:
        c = erasures.c
        self._connection.execute(update(erasures).where(c.workspace == workspace, c.subject == subject).values(**values))


def _erasure(row: Any) -> Erasure:
    return Erasure(row.workspace, row.subject, bytes(row.request), load(row.state), row.replica)
