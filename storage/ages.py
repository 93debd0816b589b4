"""How old the oldest is of what workspaces keep, within one transaction."""

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection, ScalarSelect, Table, func, select

from reallot.storage.among import among
from reallot.storage.offers import OPEN
from reallot.storage.tables import decisions, events, notices, offers, run_inputs, workspaces


class Oldest(NamedTuple):
    """Instants of the oldest event or notice, and of the oldest decision, ended offer or kept input; None = there is none."""

    told_us: int | None
    decided_us: int | None


class AgeRepository:
    """Ages of all workspaces. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of(self, names: Collection[str]) -> dict[str, Oldest]:
        """Return what is oldest in workspaces, in one question for all of them."""
        w, o = workspaces.c, offers.c
        ended = select(func.min(o.end_us)).where(o.workspace == w.workspace, o.state != OPEN).scalar_subquery()
        asked = (_first(events), _first(notices), _least(decisions), ended, _least(run_inputs))
        found = self._connection.execute(select(w.workspace, *asked).where(among(w.workspace, names)).order_by(w.workspace))
        return {row[0]: Oldest(_earliest(row[1:3]), _earliest(row[3:])) for row in found}


def _first(table: Table) -> ScalarSelect[Any]:
    """Return when the first number of the log was written that is kept."""
    c, w = table.c, workspaces.c
    return select(c.time_us).where(c.workspace == w.workspace, c.number >= w.retained_from).order_by(c.number).limit(1).scalar_subquery()


def _least(table: Table) -> ScalarSelect[Any]:
    return select(func.min(table.c.time_us)).where(table.c.workspace == workspaces.c.workspace).scalar_subquery()


def _earliest(instants: Collection[int | None]) -> int | None:
    return min((us for us in instants if us is not None), default=None)
