"""Guards the file of a SQLite database: whoever moves or removes it under a server must not make the server write to nowhere.

An open file goes on working after it was removed, and a new connection makes a new, empty one in its place; both would lose what was
answered. So the file is looked for before each transaction (about 2 µs), and it must be the one that was opened.
"""

import os
from typing import Any

from sqlalchemy import Engine, event

from reallot.storage.dialect import is_sqlite, sqlite_path
from reallot.storage.errors import StorageUnavailable


def guarded(engine: Engine, url: str) -> Engine:
    """Return the engine, whose connections are refused with StorageUnavailable while its file is not where it was; other engines
    have no file.
    """
    if not is_sqlite(url):
        return engine
    path = sqlite_path(url)
    opened = _identity(path)

    def look() -> None:
        if _identity(path) != opened:
            raise StorageUnavailable(f"{path} is another file than the one that was opened: stop the server before it is replaced")

    @event.listens_for(engine, "do_connect")
    def _before_it_is_opened(_dialect: Any, _record: Any, _arguments: Any, _named: Any) -> None:
        look()

    @event.listens_for(engine, "checkout")
    def _before_it_is_used(_connection: Any, _record: Any, _proxy: Any) -> None:
        look()

    return engine


def _identity(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be used: {error.strerror}") from error
    return found.st_dev, found.st_ino
