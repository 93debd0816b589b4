"""Records as single reads show them: whether each waits for the road, and the configuration's version, in one statement."""

from collections.abc import Sequence

from sqlalchemy import Connection, and_, bindparam, select

from reallot.storage.among import among_given
from reallot.storage.entities import Record
from reallot.storage.records import to_record
from reallot.storage.tables import pending, records, workspaces

# Made once: putting a statement together, and finding its compiled form, takes longer than a read of one record.
_SHOWN = (
    select(records, pending.c.number.label("pending_number"), workspaces.c.config_version)
    .select_from(
        records.outerjoin(pending, and_(pending.c.workspace == records.c.workspace, pending.c.record_id == records.c.record_id)).outerjoin(
            workspaces, workspaces.c.workspace == records.c.workspace
        )
    )
    .where(records.c.workspace == bindparam("in_workspace"), among_given(records.c.record_id, "record_ids"))
)


def shown_records(connection: Connection, workspace: str, record_ids: Sequence[str]) -> tuple[int, dict[str, tuple[Record, bool]]]:
    """Return the version of the configuration, and the records that exist by id, each with whether it waits; 0 if there are none."""
    rows = connection.execute(_SHOWN, {"in_workspace": workspace, "record_ids": sorted(set(record_ids))}).all()
    found = {row.record_id: (to_record(row), row.pending_number is not None) for row in rows}
    return (int(rows[0].config_version or 0) if rows else 0), found
