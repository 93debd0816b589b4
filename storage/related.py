"""What records refer to, and the fields of what is referred to, within one transaction."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select

from reallot.storage.among import among
from reallot.storage.dialect import fetched
from reallot.storage.documents import load
from reallot.storage.tables import records


class RelatedRepository:
    """References between records. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def targets(self, workspace: str, record_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the referenced ids by role of those records that refer to anything, by id."""
        c = records.c
        wanted = select(c.record_id, c.related).where(c.workspace == workspace, among(c.record_id, record_ids), c.related != "{}")
        return {record_id: load(related) for record_id, related in fetched(self._connection, wanted)}

    def fields(self, workspace: str, record_type: str, record_ids: Iterable[str]) -> dict[str, str]:
        """Return the fields, as JSON, of those of the records that exist and are of a type, by id."""
        c = records.c
        wanted = select(c.record_id, c.fields).where(c.workspace == workspace, among(c.record_id, record_ids), c.record_type == record_type)
        return dict(fetched(self._connection, wanted))
