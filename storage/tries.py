"""The instants at which records that wait are tried again because somebody works then, within one transaction.

Only the instants: which records are due stands with the records (`next_try_us`), as the look that left them waiting found it.
"""

from collections.abc import Collection

from sqlalchemy import Connection, delete, func, select

from reallot.storage.dialect import delete_rows, fetched, insert_rows
from reallot.storage.tables import next_tries


class TryRepository:
    """Instants of all workspaces. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def expect(self, workspace: str, instants_us: Collection[int]) -> None:
        """Have the records that are due at these instants tried again then."""
        rows = [(workspace, due_us) for due_us in sorted(set(instants_us))]
        delete_rows(self._connection, next_tries, ("workspace", "due_us"), rows)
        insert_rows(self._connection, next_tries, ("workspace", "due_us"), rows, {})

    def next_due(self) -> list[tuple[str, int]]:
        """Return the workspaces with such instants, and the first of each."""
        c = next_tries.c
        return [(name, due_us) for name, due_us in fetched(self._connection, select(c.workspace, func.min(c.due_us)).group_by(c.workspace))]

    def take_due(self, workspace: str, now_us: int) -> bool:
        """Remove the instants that have come; return whether any had."""
        c = next_tries.c
        gone = self._connection.execute(delete(next_tries).where(c.workspace == workspace, c.due_us <= now_us))
        return gone.rowcount > 0
