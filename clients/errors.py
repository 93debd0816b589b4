"""What a call can end with, as exceptions.

ReallotError
├── InvalidArgument      the request is malformed; `violations` names all faulty fields
├── NotAuthenticated     no token or certificate was shown, or it is not accepted
├── NotAllowed           the caller's roles do not allow it
├── NotFound             it does not exist
├── Conflict             it was changed since it was read, or exists already
├── FailedPrecondition   the state does not allow it
├── Unavailable          the server cannot be reached or is stopping; safe calls were retried already
├── Exhausted            too slow or too much; what the server wants to be asked again was tried again already
├── CursorExpired        the events after the cursor are no longer kept
├── Unimplemented        this version does not serve it
└── ServerError          the server failed; `metadata["incident"]` is what its log has it under
"""

from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclass(frozen=True, slots=True)
class Violation:
    """One faulty field."""

    field: str
    description: str


class ReallotError(Exception):
    """A call that failed. `reason` is stable, the text is for people; `retry_after_s` is None where trying again does not help, or the
    server has not said when.
    """

    def __init__(
        self,
        text: str,
        *,
        reason: str = "",
        metadata: dict[str, str] | None = None,
        violations: tuple[Violation, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(text)
        self.reason = reason
        self.metadata = metadata or {}
        self.violations = violations
        self.retry_after_s = retry_after_s


class InvalidArgument(ReallotError):
    """The request is malformed."""


class NotAuthenticated(ReallotError):
    """No token or certificate was shown, or it is not accepted."""


class NotAllowed(ReallotError):
    """The caller's roles do not allow it."""


class NotFound(ReallotError):
    """It does not exist."""


class Conflict(ReallotError):
    """It was changed since it was read, or exists already."""


class FailedPrecondition(ReallotError):
    """The state does not allow it."""


class Unavailable(ReallotError):
    """The server cannot be reached or is stopping."""


class Exhausted(ReallotError):
    """Too slow or too much."""


class CursorExpired(ReallotError):
    """The events after the cursor are no longer kept: list again."""


class Unimplemented(ReallotError):
    """This version does not serve it."""


class ServerError(ReallotError):
    """The server failed."""


_BY_CODE: dict[grpc.StatusCode, type[ReallotError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.UNAUTHENTICATED: NotAuthenticated,
    grpc.StatusCode.PERMISSION_DENIED: NotAllowed,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: Unavailable,
    # A caller who cancels sees no error: this is a call that crossed with the end of its connection.
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Exhausted,
    grpc.StatusCode.OUT_OF_RANGE: CursorExpired,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
}


def from_rpc(error: Any) -> ReallotError:
    """Return the exception for a failed call."""
    kind = _BY_CODE.get(error.code(), ServerError)
    reason, metadata, violations, retry_after_s = "", {}, [], None
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            violations = [Violation(v.field, v.description) for v in bad.field_violations]
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToMilliseconds() / 1_000
    text = error.details() or error.code().name
    return kind(text, reason=reason, metadata=metadata, violations=tuple(violations), retry_after_s=retry_after_s)
