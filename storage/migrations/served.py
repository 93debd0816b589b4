"""Which revisions of the program a database serves: the newest, and those before it as long as the migrations only add.

A migration says `expands = True` if servers of the revision before it go on working during and after it: it adds tables, indexes, and
columns that have a default, and changes the meaning of nothing. What is no longer used is taken away by a later migration, once no
server of the old revision runs; that one says `expands = False`.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, inspect, select, text

from reallot.storage.dialect import upsert
from reallot.storage.leases import EXPIRES_US
from reallot.storage.tables import meta, replicas

NAME = "served_revisions"


def served_revisions(scripts: Iterable[Any]) -> list[str]:
    """Return the revisions that a database at the newest serves; `scripts` are the migrations, newest first."""
    found: list[str] = []
    for script in scripts:
        found.append(script.revision)
        if not script.module.expands:
            break
    return found


def note(connection: Connection, scripts: Iterable[Any]) -> None:
    """Note in the database, in the transaction of a migration, whom it serves from now on."""
    upsert(connection, meta, [{"name": NAME, "value": " ".join(served_revisions(scripts))}])


def noted(connection: Connection, revision: str) -> frozenset[str]:
    """Return the revisions that a database at `revision` says it serves; none if it does not say."""
    value = connection.execute(select(meta.c.value).where(meta.c.name == NAME)).scalar()
    found = (value or "").split()
    return frozenset(found) if found[:1] == [revision] else frozenset()


def servers_at_work(connection: Connection) -> list[str]:
    """Return the addresses of the servers that work with a PostgreSQL database."""
    if not inspect(connection).has_table(replicas.name):
        return []
    statement = "SELECT address FROM replicas WHERE renewed_us > extract(epoch FROM clock_timestamp()) * 1000000 - :expires ORDER BY 1"
    return [str(row[0]) for row in connection.execute(text(statement), {"expires": EXPIRES_US})]
