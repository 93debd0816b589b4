"""Backups of a SQLite database: taken while a server works with it, checked before they count, put in place whole or not at all.

A backup is an ordinary database file of one moment. One that is restored gets a name of its own: the events that its server numbers
from then on are not those that were numbered after the backup, so cursors from before the restore must not be taken for its own.
"""

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reallot.storage import lock_file, schema
from reallot.storage.dialect import is_sqlite, sqlite_path
from reallot.storage.errors import DatabaseDamaged, SchemaMismatch, StorageUnavailable

PAGES = 2_000
"""Pages that are copied between two reports."""
WRONG = {
    "a seller's load is not the sum of the efforts owned": """
        SELECT count(*) FROM (
            SELECT workspace, seller_id, record_type, segment_id, effort, records FROM loads WHERE records <> 0
            EXCEPT
            SELECT workspace, CASE owner_kind WHEN 'SELLER' THEN owner_id ELSE {offered} END, record_type, segment_id, sum(effort), count(*)
            FROM records WHERE active AND (owner_kind = 'SELLER' OR {offered} <> '') GROUP BY 1, 2, 3, 4
        )""",
    "efforts are owned that no seller's load counts": """
        SELECT count(*) FROM (
            SELECT workspace, CASE owner_kind WHEN 'SELLER' THEN owner_id ELSE {offered} END, record_type, segment_id, sum(effort), count(*)
            FROM records WHERE active AND (owner_kind = 'SELLER' OR {offered} <> '') GROUP BY 1, 2, 3, 4
            EXCEPT
            SELECT workspace, seller_id, record_type, segment_id, effort, records FROM loads
        )""",
    "an event has a number that was not given out": """
        SELECT count(*) FROM events JOIN workspaces USING (workspace) WHERE number > event_number""",
    "a notice has a number that was not given out": """
        SELECT count(*) FROM notices JOIN workspaces USING (workspace) WHERE number > event_number""",
    "a changed record has a number that was not given out": """
        SELECT count(*) FROM pending JOIN workspaces USING (workspace) WHERE number > pending_number""",
}
"""What must not be found, and how it is looked for."""
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a checked database holds. `events` is the sum of the numbers that its workspaces have come to."""

    schema: str
    database_id: str
    workspaces: int
    records: int
    sellers: int
    events: int
    bytes: int


def back_up(url: str, target: Path, *, force: bool = False, on_progress: OnProgress = lambda _done, _total: None) -> Facts:
    """Write the database as it is at this moment to the file `target`, and return what stands in it. Servers go on meanwhile.

    Args:
        url: The SQLite database.
        target: The new file; it appears when it is complete, checked and on disk.
        force: Replace a file that is there.
        on_progress: Called with the pages that are copied and all pages.

    Raises:
        FileExistsError: there is such a file, and `force` is not given.
        DatabaseDamaged: what was read is no sound database.
        StorageUnavailable: the database cannot be read or the file cannot be written.
        ValueError: the database is not SQLite.
    """
    source = _file_of(url)
    _refuse_to_replace(target, force)
    with _copied(source, target, on_progress) as copy:
        facts = check(copy)
        _put_in_place(copy, target, force)
    return facts


def restore(url: str, source: Path, *, force: bool = False, on_progress: OnProgress = lambda _done, _total: None) -> Facts:
    """Put a backup in the place of a database, under a new database id, and return what stands in it.

    Raises:
        FileExistsError: there is a database, and `force` is not given.
        DatabaseLocked: a server has it.
        DatabaseDamaged: the backup is no sound database.
        SchemaMismatch: it was made by a newer program.
        StorageUnavailable: the backup cannot be read or the database cannot be written.
        ValueError: the database is not to be SQLite.
    """
    target = _file_of(url)
    held = lock_file.hold(str(target))
    try:
        _refuse_to_replace(target, force)
        with _copied(source, target, on_progress) as copy:
            facts = check(copy)
            if facts.schema not in schema.known_revisions():
                known = f"which this program ({schema.head()}) does not know"
                raise SchemaMismatch(f"the backup is at revision {facts.schema}, {known}: use a newer reallot")
            fresh_id = uuid.uuid4().hex
            with _opened(copy) as connection:
                connection.execute("UPDATE meta SET value = ? WHERE name = 'database_id'", (fresh_id,))
            _empty_the_log(target)
            _put_in_place(copy, target, force)
    finally:
        os.close(held)
    return Facts(facts.schema, fresh_id, facts.workspaces, facts.records, facts.sellers, facts.events, facts.bytes)


def check(path: Path) -> Facts:
    """Return what stands in a database file that nobody uses, once every page, number and sum is found sound.

    Raises:
        DatabaseDamaged: it is not; the text says what was found.
    """
    try:
        with _opened(path) as connection:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if found != "ok":
                raise DatabaseDamaged(f"{path}: {found}")
            columns = {row[1] for row in connection.execute("PRAGMA table_info(records)")}
            # Before there were offers, only owners carried anything.
            offered = "offered_to" if "offered_to" in columns else "''"
            for text, statement in WRONG.items():
                (count,) = connection.execute(statement.replace("{offered}", offered)).fetchone()
                if count:
                    raise DatabaseDamaged(f"{path}: {text} ({count} times)")
            return _facts(connection, path)
    except (sqlite3.DatabaseError, TypeError) as error:
        raise DatabaseDamaged(f"{path} is no sound database of this program: {error}") from error


def _facts(connection: sqlite3.Connection, path: Path) -> Facts:
    def one(statement: str) -> tuple[object, ...]:
        row: tuple[object, ...] = connection.execute(statement).fetchone()
        return row

    (revision,) = one("SELECT version_num FROM alembic_version")
    (database_id,) = one("SELECT value FROM meta WHERE name = 'database_id'")
    counts = one("SELECT count(*), (SELECT count(*) FROM records), (SELECT count(*) FROM sellers), total(event_number) FROM workspaces")
    workspaces, records, sellers, events = (int(float(str(count))) for count in counts)
    return Facts(str(revision), str(database_id), workspaces, records, sellers, events, path.stat().st_size)


def _file_of(url: str) -> Path:
    if not is_sqlite(url):
        raise ValueError("only SQLite files are backed up and restored by this command; docs/operations.md says how PostgreSQL is")
    return Path(sqlite_path(url))


def _refuse_to_replace(target: Path, force: bool) -> None:
    if target.exists() and not force:
        raise FileExistsError(f"{target} exists: it is replaced with --force only")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file that must be there; what is done is committed at the end, with nothing left beside the file."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
    try:
        connection.execute("PRAGMA journal_mode=DELETE")
        with connection:
            yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def _copied(source: Path, target: Path, on_progress: OnProgress) -> Iterator[Path]:
    """Give a copy of one moment of the database `source`, in the folder of `target`; it is gone at the end unless it was moved."""
    copy = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)) as reader:
            # One snapshot for the whole copy: else it would begin anew with every commit of a server.
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
            with contextlib.closing(sqlite3.connect(copy)) as writer:
                reader.backup(writer, pages=PAGES, progress=lambda _status, left, total: on_progress(total - left, total))
        yield copy
    except sqlite3.OperationalError as error:
        raise StorageUnavailable(f"{source} was not copied to {target}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise DatabaseDamaged(f"{source} is no sound database of this program: {error}") from error
    finally:
        copy.unlink(missing_ok=True)


def _empty_the_log(path: Path) -> None:
    """Take away what stands beside a database that is about to be replaced: its log must never be read as that of another file."""
    with contextlib.suppress(sqlite3.DatabaseError), _opened(path):
        # A database that is whole takes up its log, so that it stays what it was if this ends here.
        pass
    for suffix in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _put_in_place(copy: Path, target: Path, force: bool) -> None:
    """Let a complete copy appear under its name, on disk; never over a file that came meanwhile, unless that is wanted."""
    descriptor = os.open(copy, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if force:
        os.replace(copy, target)
    else:
        os.link(copy, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
