"""Loaded by the servers of a fault test at their start: moves their clock and slows down their disk, as two numbers in a file say.

The file is `$CHAOS_FOLDER/weather-PORT`: two signed 64-bit numbers of nanoseconds, by which the clock is off and a commit on SQLite
takes longer. Processes without a port in their command line, such as workers, are left alone.
"""

import mmap
import os
import sqlite3
import struct
import sys
import time


def _weather() -> mmap.mmap | None:
    folder, arguments = os.environ.get("CHAOS_FOLDER"), sys.orig_argv
    if folder is None or "--port" not in arguments[:-1]:
        return None
    path = os.path.join(folder, f"weather-{arguments[arguments.index('--port') + 1]}")
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), 16)


def _change(weather: mmap.mmap) -> None:
    real_time_ns, real_connect = time.time_ns, sqlite3.dbapi2.connect

    class SlowConnection(sqlite3.Connection):
        """Waits before it commits."""

        def commit(self) -> None:
            (delay_ns,) = struct.unpack_from("q", weather, 8)
            if delay_ns:
                time.sleep(delay_ns / 1e9)
            super().commit()

    def connect(*arguments: object, **more: object) -> sqlite3.Connection:
        return real_connect(*arguments, **{"factory": SlowConnection, **more})  # type: ignore[arg-type]

    time.time_ns = lambda: real_time_ns() + int(struct.unpack_from("q", weather)[0])
    sqlite3.connect = sqlite3.dbapi2.connect = connect  # type: ignore[assignment]


if (_found := _weather()) is not None:
    _change(_found)
