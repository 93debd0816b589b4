"""Journals: what the clients of a fault test asked for, were answered and were told, as JSON lines.

Every line has a key `t`, which says what the other keys are:

    sent      id, method, intent, position   a request leaves; `position` is the number of the last committed event before that
    answer    id, outcome, result, answer, position   it was answered: outcome "OK" or a status code; `answer` is the message in hex
    follow    follower, connection, after, filter | seller   a follower (re)connects to hear what comes after event `after`
    heard     follower, connection, number, kind, record   it got an event, or a notice of the seller it follows

A request without an answer was given up: it may have been carried out, but at most once.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

Line = dict[str, Any]


class Journal:
    """Writes one journal. Belongs to one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def write(self, t: str, **keys: Any) -> None:
        """Append one line."""
        self._file.write(json.dumps({"t": t, **keys}, separators=(",", ":")) + "\n")

    def flush(self) -> None:
        """Make everything written so far readable by others."""
        self._file.flush()

    def close(self) -> None:
        """Write what is left and end."""
        self._file.close()


def read(paths: Iterable[Path]) -> Iterator[Line]:
    """Yield the lines of journals, one journal after the other.

    Raises:
        ValueError: a line is not JSON; it names the file and the line.
    """
    for path in paths:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise ValueError(f"{path}:{number}: {error}") from None
