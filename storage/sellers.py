"""Sellers with their turns, loads and absences, within one transaction."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Connection, Select, Table, delete, func, select, update

from reallot.storage.among import among, named, these
from reallot.storage.audit import AuditRepository, Note
from reallot.storage.dialect import fetched, upsert, upsert_rows
from reallot.storage.documents import dump, load
from reallot.storage.entities import Json, Load, OwnerKind, Seller, Terms, TimeOff, Turn
from reallot.storage.tables import loads, records, rule_turns, sellers, shares, time_off, turns, unanswered, working_stretches, workspaces
from reallot.storage.windows import WindowRepository

_DOCUMENTS = ("ramp_up", "attributes", "skills", "capacity", "calendar")
_PLAIN = [f.name for f in fields(Seller) if f.name not in (*_DOCUMENTS, "team_ids")]


def _turn_rows(workspace: str, rows: Sequence[Turn]) -> list[dict[str, Any]]:
    return [
        {"workspace": workspace, "seller_id": row.seller_id, "record_type": row.record_type, "order": row.order, "time_us": row.time_us}
        for row in rows
    ]


def _to_seller(row: Any) -> Seller:
    values = row._mapping
    return Seller(
        team_ids=tuple(load(values["team_ids"])),
        **{name: load(values[name]) for name in _DOCUMENTS},
        **{name: values[name] for name in _PLAIN},
    )


def _to_row(workspace: str, seller: Seller) -> dict[str, Any]:
    return {
        "workspace": workspace,
        "team_ids": dump(list(seller.team_ids)),
        **{name: dump(getattr(seller, name)) for name in _DOCUMENTS},
        **{name: getattr(seller, name) for name in _PLAIN},
    }


def _written(seller: Seller) -> Json:
    """Return what callers have written of a seller."""
    row = asdict(seller) | {"team_ids": list(seller.team_ids)}
    return {name: value for name, value in row.items() if name not in ("version", "create_us", "update_us")}


def _absence(before: TimeOff | None, after: TimeOff | None) -> Note:
    row = after or before
    if row is None:
        raise AssertionError("an absence is there before or after its change")
    return "time_off", f"{row.seller_id}/{row.time_off_id}", _shown(before), _shown(after)


def _shown(row: TimeOff | None) -> Json:
    return None if row is None else {"start_us": row.start_us, "end_us": row.end_us, "note": row.note}


_TERMS = select(sellers.c.seller_id, sellers.c.capacity, sellers.c.ramp_up).where(named(sellers, "seller_id")).order_by(sellers.c.seller_id)
_NAMED = select(sellers).where(named(sellers, "seller_id")).order_by(sellers.c.seller_id)


_RULE_TURN = ("workspace", "seller_id", "record_type", "rule_id", "order")


def _by_rule(workspace: str, rows: Iterable[Turn]) -> list[tuple[str, str, str, str, int]]:
    return [(workspace, turn.seller_id, turn.record_type, turn.rule_id, turn.order) for turn in rows]


class SellerRepository:
    """Sellers of all workspaces, within one transaction. Not thread-safe."""

    def __init__(self, connection: Connection, audit: AuditRepository | None = None) -> None:
        self._connection = connection
        self._audit = audit or AuditRepository(connection)
        self.windows = WindowRepository(connection)

    def get(self, workspace: str, seller_ids: Collection[str] | None = None) -> dict[str, Seller]:
        """Return sellers by id, in order of their ids; None = all."""
        if seller_ids is not None:
            if not seller_ids:
                return {}
            rows = self._connection.execute(_NAMED, these(workspace, seller_ids))
        else:
            rows = self._connection.execute(select(sellers).where(sellers.c.workspace == workspace).order_by(sellers.c.seller_id))
        return {row.seller_id: _to_seller(row) for row in rows}

    def terms(self, workspace: str, seller_ids: Iterable[str]) -> dict[str, Terms]:
        """Return the terms of those sellers that exist, by id; equal ones are one object."""
        stored = {row[0]: row[1:] for row in fetched(self._connection, _TERMS, these(workspace, seller_ids))}
        # Most sellers have the same.
        documents = {texts: Terms(*map(load, texts)) for texts in set(stored.values())}
        return {seller_id: documents[texts] for seller_id, texts in stored.items()}

    def members(self, workspace: str, team_ids: Collection[str]) -> dict[str, list[str]]:
        """Return sellers by team, of those of the teams that have any, by id."""
        if not team_ids:
            return {}
        statement = select(sellers.c.seller_id, sellers.c.team_ids).where(sellers.c.workspace == workspace, sellers.c.team_ids != "[]")
        found: dict[str, list[str]] = {}
        for seller_id, teams in self._connection.execute(statement.order_by(sellers.c.seller_id)):
            for team in set(load(teams)).intersection(team_ids):
                found.setdefault(team, []).append(seller_id)
        return found

    def _of_sellers(self, statement: Select[Any], table: Table, seller_ids: Iterable[str] | None) -> Iterable[Any]:
        """Return the rows of `statement` for some sellers; None = for all."""
        return self._connection.execute(statement if seller_ids is None else statement.where(among(table.c.seller_id, seller_ids)))

    def page(self, workspace: str, after_id: str = "", limit: int = 50) -> list[Seller]:
        """Return up to `limit` sellers with an id greater than `after_id`, by id."""
        statement = select(sellers).where(sellers.c.workspace == workspace, sellers.c.seller_id > after_id)
        return [_to_seller(row) for row in self._connection.execute(statement.order_by(sellers.c.seller_id).limit(limit))]

    def upsert(self, workspace: str, rows: Sequence[Seller]) -> None:
        """Store sellers as given."""
        if self._audit.is_noting:
            stored = {name: _written(seller) for name, seller in self.get(workspace, [s.seller_id for s in rows]).items()}
            self._audit.note(workspace, [("seller", s.seller_id, stored.get(s.seller_id), _written(s)) for s in rows])
        upsert(self._connection, sellers, [_to_row(workspace, seller) for seller in rows])

    def delete(self, workspace: str, seller_ids: Sequence[str]) -> int:
        """Remove sellers with their turns, shares, absences and unanswered offers; return how many existed."""
        if self._audit.is_noting:
            gone = self.get(workspace, seller_ids)
            self._audit.note(workspace, [("seller", name, _written(seller), None) for name, seller in gone.items()])
        self.windows.forget(workspace, seller_ids)
        for table in (turns, rule_turns, shares, time_off, unanswered, working_stretches, sellers):
            result = self._connection.execute(delete(table).where(table.c.workspace == workspace, among(table.c.seller_id, seller_ids)))
        return result.rowcount

    def owned_count(self, workspace: str, seller_id: str) -> int:
        """Return how many records, active or not, the seller owns."""
        statement = (
            select(func.count())
            .select_from(records)
            .where(
                records.c.workspace == workspace,
                records.c.owner_id == seller_id,
                records.c.owner_kind == OwnerKind.SELLER.value,
            )
        )
        return int(self._connection.execute(statement).scalar_one())

    def turns(self, workspace: str, seller_ids: Iterable[str] | None = None) -> list[Turn]:
        """Return the turns of sellers; None = of all."""
        statement = select(turns).where(turns.c.workspace == workspace)
        rows = self._of_sellers(statement.order_by(turns.c.seller_id, turns.c.record_type), turns, seller_ids)
        return [Turn(row.seller_id, row.record_type, row.order, row.time_us) for row in rows]

    def rule_turns(self, workspace: str) -> list[Turn]:
        """Return the turns of all sellers by the rule that gave them; their times are not kept."""
        rows = self._connection.execute(select(rule_turns).where(rule_turns.c.workspace == workspace))
        return [Turn(row.seller_id, row.record_type, row.order, 0, row.rule_id) for row in rows]

    def set_turns(self, workspace: str, rows: Sequence[Turn]) -> None:
        """Store turns as given; the workspace's counter never falls behind them."""
        if not rows:
            return
        upsert(self._connection, turns, _turn_rows(workspace, rows))
        upsert_rows(self._connection, rule_turns, _RULE_TURN, _by_rule(workspace, rows))
        highest = max(row.order for row in rows)
        upsert(self._connection, workspaces, [{"workspace": workspace}])
        self._connection.execute(
            update(workspaces).where(workspaces.c.workspace == workspace, workspaces.c.turn_number < highest).values(turn_number=highest)
        )

    def take_turns(self, workspace: str, rows: Sequence[Turn]) -> None:
        """Store turns whose numbers were drawn before; where a later one is stored, that stays."""
        columns = ("workspace", "seller_id", "record_type", "order", "time_us")
        ascending = sorted(rows, key=lambda turn: turn.order)
        latest = {turn[:3]: turn for turn in ((workspace, t.seller_id, t.record_type, t.order, t.time_us) for t in ascending)}
        upsert_rows(self._connection, turns, columns, list(latest.values()), latest=columns[-2:])
        upsert_rows(self._connection, rule_turns, _RULE_TURN, _by_rule(workspace, ascending), latest=_RULE_TURN[-1:])

    def loads(self, workspace: str, seller_ids: Iterable[str] | None = None) -> list[Load]:
        """Return what sellers carry; None = all sellers."""
        statement = select(loads).where(loads.c.workspace == workspace)
        rows = self._of_sellers(statement.order_by(loads.c.seller_id, loads.c.record_type, loads.c.segment_id), loads, seller_ids)
        return [Load(row.seller_id, row.record_type, row.segment_id, row.effort, row.records) for row in rows]

    def time_off(self, workspace: str, from_us: int, seller_ids: Iterable[str] | None = None) -> list[TimeOff]:
        """Return absences that end after `from_us`, by seller and start; None = of all sellers."""
        statement = select(time_off).where(time_off.c.workspace == workspace, time_off.c.end_us > from_us)
        statement = statement.order_by(time_off.c.seller_id, time_off.c.start_us, time_off.c.time_off_id)
        rows = self._of_sellers(statement, time_off, seller_ids)
        return [TimeOff(row.seller_id, row.time_off_id, row.start_us, row.end_us, row.note) for row in rows]

    def add_time_off(self, workspace: str, rows: Sequence[TimeOff]) -> None:
        """Store absences; one with the same id is replaced."""
        names = [f.name for f in fields(TimeOff)]
        if self._audit.is_noting:
            stored = {(row.seller_id, row.time_off_id): row for row in self.time_off(workspace, 0, {row.seller_id for row in rows})}
            self._audit.note(workspace, [_absence(stored.get((row.seller_id, row.time_off_id)), row) for row in rows])
        upsert(
            self._connection,
            time_off,
            [{"workspace": workspace} | {name: getattr(row, name) for name in names} for row in rows],
        )

    def remove_time_off(self, workspace: str, seller_id: str, time_off_ids: Sequence[str]) -> int:
        """Remove absences of a seller; return how many existed."""
        c = time_off.c
        if self._audit.is_noting:
            gone = [row for row in self.time_off(workspace, 0, [seller_id]) if row.time_off_id in set(time_off_ids)]
            self._audit.note(workspace, [_absence(row, None) for row in gone])
        statement = delete(time_off).where(c.workspace == workspace, c.seller_id == seller_id, among(c.time_off_id, time_off_ids))
        return int(self._connection.execute(statement).rowcount)
