"""The smallest write there is, to see whether the database takes one."""

from reallot.storage.dialect import upsert
from reallot.storage.tables import meta
from reallot.storage.transaction import WriteTransaction


def probe(tx: WriteTransaction) -> None:
    """Write a row that nobody reads."""
    upsert(tx.connection, meta, [{"name": "probe", "value": str(tx.now_us)}])
