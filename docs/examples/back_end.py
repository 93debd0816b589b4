"""A CRM's back end in one page: sends what changed, follows events, writes owners back. The CRM is one table in a SQLite file.

python back_end.py crm.sqlite [ADDRESS]
"""

import asyncio
import os
import sqlite3
import sys

from reallot.clients import AsyncClient, Gap, Record, SnapshotEnd
from reallot.v1 import event_pb2, record_pb2

TABLES = """
CREATE TABLE IF NOT EXISTS leads (id TEXT PRIMARY KEY, country TEXT, revenue REAL, owner TEXT, changed INTEGER DEFAULT 1);
CREATE TABLE IF NOT EXISTS cursor (only INTEGER PRIMARY KEY CHECK (only = 0), text TEXT);
INSERT OR IGNORE INTO cursor VALUES (0, '');
"""
LOOK_AGAIN_S = 0.2


def open_crm(path: str) -> sqlite3.Connection:
    crm = sqlite3.connect(path)
    crm.executescript(TABLES)
    return crm


async def send(crm: sqlite3.Connection, reallot: AsyncClient) -> None:
    """Send leads that changed; one stays marked until the answer has come, and if it changes meanwhile."""
    while True:
        rows = crm.execute("SELECT id, country, revenue, changed FROM leads WHERE changed > 0 LIMIT 1000").fetchall()
        if rows:
            await reallot.records.upsert([Record(i, "lead", {"country": country, "revenue": revenue}) for i, country, revenue, _ in rows])
            with crm:
                crm.executemany("UPDATE leads SET changed = 0 WHERE id = ? AND changed = ?", [(i, mark) for i, _, _, mark in rows])
        else:
            await asyncio.sleep(LOOK_AGAIN_S)


async def follow(crm: sqlite3.Connection, reallot: AsyncClient) -> None:
    """Write owners back, each in one transaction with the cursor of its event."""
    (cursor,) = crm.execute("SELECT text FROM cursor").fetchone()
    async for item in reallot.events.watch(owner_changed=True, cursor=cursor, snapshot=not cursor):
        with crm:
            match item:
                case event_pb2.Event():
                    write_owner(crm, item.record_id, item.after.owner.seller_id)
                    crm.execute("UPDATE cursor SET text = ?", (item.cursor,))
                case record_pb2.Record():
                    write_owner(crm, item.record_id, item.owner.seller_id)
                case SnapshotEnd():
                    crm.execute("UPDATE cursor SET text = ?", (item.cursor,))
                case Gap():
                    print("events are missing: every lead is listed anew", flush=True)


def write_owner(crm: sqlite3.Connection, lead: str, owner: str) -> None:
    crm.execute("UPDATE leads SET owner = ? WHERE id = ?", (owner or None, lead))
    print(f"{lead} is {owner + chr(39) + 's' if owner else 'waiting'}", flush=True)


async def main(path: str, address: str) -> None:
    crm = open_crm(path)
    print(f"sends to and follows {address}", flush=True)
    async with AsyncClient(address) as reallot, asyncio.TaskGroup() as both:
        both.create_task(send(crm, reallot))
        both.create_task(follow(crm, reallot))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else os.environ.get("REALLOT_ADDRESS", "localhost:7350")))
