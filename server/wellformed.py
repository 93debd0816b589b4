"""What every request is held to, whatever it asks: values of enums that exist, instants and durations in range, texts not too long.

Rows of records, sellers and configuration, and columns of problems, have readers of their own, which say where in a row the fault is.
"""

from functools import cache
from typing import Any

from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.descriptor import Descriptor

from reallot.server.configuration import value_faults
from reallot.server.errors import Violation, invalid

READ_ELSEWHERE = frozenset({"records", "sellers", "resources", "pairs", "arrow"})
_RANGED = (timestamp_pb2.Timestamp.DESCRIPTOR.full_name, duration_pb2.Duration.DESCRIPTOR.full_name)


def check_values(request: Any) -> None:
    """Do nothing if the values of a request can be what they say.

    Raises:
        ApiError: INVALID_ARGUMENT, with all fields that cannot.
    """
    if not _may_be_faulty(request.DESCRIPTOR):
        return
    faults = [Violation(path, text) for path, text in value_faults(request)]
    if faults:
        raise invalid(faults)


@cache
def _may_be_faulty(kind: Descriptor) -> bool:
    """Tell whether requests of a kind have values that this module looks at; single reads by an id have none, and are spared the look."""
    if any(field.name in READ_ELSEWHERE for field in kind.fields):
        return False
    return _has_ranged(kind, frozenset())


def _has_ranged(kind: Descriptor, seen: frozenset[str]) -> bool:
    if kind.full_name in _RANGED:
        return True
    if kind.full_name in seen:
        return False
    seen |= {kind.full_name}
    return any(f.enum_type is not None or (f.message_type is not None and _has_ranged(f.message_type, seen)) for f in kind.fields)
