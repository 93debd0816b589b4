"""Rows that are given out, in messages that every client takes."""

from collections.abc import Iterator, Mapping, Sequence

from reallot.storage.documents import dump
from reallot.storage.entities import Json
from reallot.v1 import workspace_service_pb2 as pb

LARGEST = 1 << 20
"""Characters after which a message is full; one row may be larger."""


def parts_of(table: str, rows: Sequence[Mapping[str, Json]]) -> Iterator[list[pb.ExportedRow]]:
    """Yield the rows of a table, as many together as go into a message."""
    found: list[pb.ExportedRow] = []
    size = 0
    for row in rows:
        content = dump(row)
        if found and size + len(content) > LARGEST:
            yield found
            found, size = [], 0
        found.append(pb.ExportedRow(table=table, content=content))
        size += len(content)
    if found:
        yield found
