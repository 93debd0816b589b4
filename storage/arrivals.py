"""New records as columns: many at once, for little more than their statements cost.

It comes to the same as transitions without a record before (see `RecordRepository.commit`), none of which has a claim or an
enrollment, as the conformance suite holds it to.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from sqlalchemy import BigInteger, Boolean, Connection, select

from reallot.storage import capacity
from reallot.storage.among import among
from reallot.storage.capacity import Weight
from reallot.storage.dialect import insert_rows
from reallot.storage.documents import JsonText
from reallot.storage.entities import OwnerKind, Turn
from reallot.storage.moves import WRITTEN
from reallot.storage.numbering import EventBuffer, EventRows, draw
from reallot.storage.pending import PendingRepository
from reallot.storage.records import RecordRepository
from reallot.storage.sellers import SellerRepository
from reallot.storage.tables import decisions, records

_TOLD = ("kind", "record_type", "after", "changed_fields", "sentence", "record_id")
_GIVEN = ("record_id", *WRITTEN, "owner_kind", "owner_id", "assignment")


@dataclass(frozen=True)
class Arrivals:
    """New records of one workspace, a row each, in the order in which they come.

    Attributes:
        frame: The columns of a record that callers write, documents as texts and `created_us` null for the present, with `owner_kind`,
            `owner_id` ("" = nobody) and `assignment`; of its event `kind`, `after`, `changed_fields`, `sentence`; `decided`, the state that
            the log shows, null for records without an owner, of which there is no line; and `takes_turn`, whether a seller who gets it
            has had a turn.
        cause: Why they come, as a text.
        mark: Why those that are active wait for the road, as a text.
        reason: What the log says of the owners.
        notifies: The sellers who get a record hear of it.
    """

    frame: pl.DataFrame
    cause: JsonText
    mark: JsonText
    reason: str
    notifies: bool


class ArrivalWriter:
    """Stores new records within one transaction. Not thread-safe."""

    def __init__(
        self,
        connection: Connection,
        buffer: EventBuffer,
        marks: PendingRepository,
        sellers: SellerRepository,
        stored: RecordRepository,
    ) -> None:
        self._connection = connection
        self._buffer = buffer
        self._marks = marks
        self._sellers = sellers
        self._stored = stored

    def store(self, workspace: str, arrivals: Arrivals, now_us: int) -> list[int]:
        """Store records of which none exists, and return their versions."""
        frame = arrivals.frame.with_columns(pl.col("created_us").fill_null(now_us))
        ids = frame["record_id"].to_list()
        last = self._stored.last_versions(workspace, ids)
        versions = [last.get(record_id, 0) + 1 for record_id in ids] if last else [1] * len(ids)
        waiting = pl.when(pl.col("active") & (pl.col("owner_kind") == "")).then(now_us)
        given = frame.select(*_GIVEN, waiting.alias("waiting_since_us"), pl.Series("version", versions, dtype=pl.Int64))
        same = {"workspace": workspace, "create_us": now_us, "update_us": now_us}
        insert_rows(self._connection, records, given.columns, given.rows(), same)
        owned = frame.filter(pl.col("owner_kind") == OwnerKind.SELLER.value)
        self._store_loads(workspace, owned)
        self._store_turns(workspace, owned, now_us)
        self._marks.add_new(workspace, frame.filter("active")["record_id"].to_list(), now_us, arrivals.mark)
        self._store_decisions(workspace, arrivals, versions, now_us)
        self._tell(workspace, arrivals, now_us)
        return versions

    def _store_loads(self, workspace: str, owned: pl.DataFrame) -> None:
        carried = owned.filter("active").select("owner_id", "record_type", "effort").rows()
        if carried:
            account = capacity.open_account(self._connection, workspace, {seller for seller, _, _ in carried})
            for seller, record_type, effort in carried:
                account.move(None, Weight((seller, record_type, ""), effort))
            capacity.store(self._connection, workspace, account)

    def _store_turns(self, workspace: str, owned: pl.DataFrame, now_us: int) -> None:
        taken = owned.filter("takes_turn").select("owner_id", "record_type").rows()
        if taken:
            self._store_gains(workspace, owned.filter(pl.col("takes_turn") & pl.col("active")), now_us)
            first = draw(self._connection, workspace, "turn_number", len(taken))
            latest = {taker: order for order, taker in enumerate(taken, first)}
            turns = [Turn(seller, record_type, order, now_us) for (seller, record_type), order in latest.items()]
            self._sellers.take_turns(workspace, turns)

    def _store_gains(self, workspace: str, given: pl.DataFrame, now_us: int) -> None:
        windows = self._sellers.windows.of(workspace, given["owner_id"])
        if windows:
            efforts = given.group_by("owner_id", "record_type").agg(pl.col("effort").sum()).rows()
            # New records are in no segment yet.
            places = {(seller, record_type, ""): effort for seller, record_type, effort in efforts}
            self._sellers.windows.add(workspace, windows, places, now_us)

    def _store_decisions(self, workspace: str, arrivals: Arrivals, versions: Sequence[int], now_us: int) -> None:
        # By id, as of every commit: a line finds its place in the log's index beside the one before.
        numbered = arrivals.frame.with_columns(pl.Series("version", versions, dtype=pl.Int64))
        lines = numbered.filter(pl.col("decided").is_not_null()).sort("record_id")
        told = lines.select("record_id", "assignment", "decided", "version").rows()
        same = {"workspace": workspace, "time_us": now_us, "cause": str(arrivals.cause), "reason": arrivals.reason, "before": "null"}
        insert_rows(self._connection, decisions, ("record_id", "status", "after", "version"), told, same)

    def _tell(self, workspace: str, arrivals: Arrivals, now_us: int) -> None:
        rows = arrivals.frame.select(_TOLD).rows()
        same = {"before": "null", "cause": str(arrivals.cause), "run_id": ""}
        notices = self._notices(workspace, arrivals.frame) if arrivals.notifies else []
        self._buffer.add_rows(workspace, EventRows(now_us, same, _TOLD, rows, notices))

    def _notices(self, workspace: str, frame: pl.DataFrame) -> list[tuple[int, str, str]]:
        """Return position, seller and kind of what sellers hear: owners, and the members of teams that own."""
        owned = frame.with_row_index("at").select("at", "owner_id", "kind", "owner_kind")
        notices = owned.filter(pl.col("owner_kind") == OwnerKind.SELLER.value).select("at", "owner_id", "kind").rows()
        of_teams = owned.filter(pl.col("owner_kind") == OwnerKind.TEAM.value).select("at", "owner_id", "kind").rows()
        members = self._sellers.members(workspace, {team for _, team, _ in of_teams})
        return notices + [(at, seller, kind) for at, team, kind in of_teams for seller in members.get(team, ())]


def stored_columns(connection: Connection, workspace: str, record_ids: Sequence[str]) -> pl.DataFrame:
    """Return what callers have written of the records that exist, with their versions, as columns of those names."""
    columns = [records.c[name] for name in ("record_id", *WRITTEN, "version")]
    found = connection.execute(select(*columns).where(records.c.workspace == workspace, among(records.c.record_id, record_ids)))
    kinds = {BigInteger: pl.Int64, Boolean: pl.Boolean}
    schema = {column.name: kinds.get(type(column.type), pl.String) for column in columns}
    return pl.DataFrame([tuple(row) for row in found], schema=schema, orient="row")
