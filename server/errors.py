"""Errors on their way to the caller: one exception for what the API refuses, one mapper from any exception to a status.

Every status carries exactly one `google.rpc.ErrorInfo` in the domain `reallot`; a refused request also lists all its faulty
fields in a `BadRequest`. An exception that is not foreseen becomes INTERNAL with an incident id and nothing of its text.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2

from reallot.storage import errors as storage_errors

DOMAIN = "reallot"


@dataclass(frozen=True, slots=True)
class Violation:
    """One faulty field of a request: its path as the caller wrote it, and what is wrong with it."""

    field: str
    description: str
    reason: str = "INVALID_FIELD"


class ApiError(Exception):
    """A request that is refused, with everything the caller needs to know why."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        text: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Iterable[Violation] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason
        self.text = text
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after_s = retry_after_s


def invalid(violations: Iterable[Violation]) -> ApiError:
    """Return INVALID_ARGUMENT that names all `violations`; its reason is that of the first one."""
    found = tuple(violations)
    text = "; ".join(f"{v.field}: {v.description}" for v in found[:5])
    if len(found) > 5:
        text += f"; and {len(found) - 5} more"
    return ApiError(grpc.StatusCode.INVALID_ARGUMENT, found[0].reason, text, metadata={"field": found[0].field}, violations=found)


def invalid_field(field: str, description: str, reason: str = "INVALID_FIELD") -> ApiError:
    """Return INVALID_ARGUMENT for one faulty field."""
    return invalid([Violation(field, description, reason)])


def not_found(kind: str, resource_id: str) -> ApiError:
    """Return NOT_FOUND for a resource of `kind`, e.g. "record"."""
    reason = f"{kind.upper()}_NOT_FOUND"
    return ApiError(grpc.StatusCode.NOT_FOUND, reason, f"{kind} {resource_id!r} does not exist", metadata={kind: resource_id})


def failed_precondition(reason: str, text: str, **metadata: str) -> ApiError:
    """Return FAILED_PRECONDITION: the request is well formed, the state does not allow it."""
    return ApiError(grpc.StatusCode.FAILED_PRECONDITION, reason, text, metadata=metadata)


def workspace_deleted(workspace: str, text: str) -> ApiError:
    """Return FAILED_PRECONDITION for a workspace that was deleted and not made anew."""
    return failed_precondition("WORKSPACE_DELETED", f"{text}: an operator can make it anew", workspace=workspace)


def not_implemented(what: str, violations: Iterable[Violation] = ()) -> ApiError:
    """Return UNIMPLEMENTED for a part of the contract that this version does not serve yet, with the fields that ask for it."""
    return ApiError(
        grpc.StatusCode.UNIMPLEMENTED,
        "NOT_IMPLEMENTED",
        f"{what} is part of the contract but not served by this version",
        metadata={"feature": what},
        violations=violations,
    )


def _from_storage(error: storage_errors.StorageError) -> ApiError:
    match error:
        case storage_errors.WorkspaceMissing():
            found = not_found(error.kind, error.id)
            text = f"{found.text}, and writes make none here: an operator does (reallot workspaces create)"
            return ApiError(found.code, found.reason, text, metadata=found.metadata)
        case storage_errors.NotFound():
            return not_found(error.kind, error.id)
        case storage_errors.AlreadyExists():
            return ApiError(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS", str(error))
        case storage_errors.VersionConflict():
            return ApiError(grpc.StatusCode.ABORTED, "ETAG_MISMATCH", str(error))
        case storage_errors.WorkspaceDeleted():
            return workspace_deleted(error.workspace, str(error))
        case storage_errors.StorageUnavailable():
            return ApiError(
                grpc.StatusCode.UNAVAILABLE,
                "STORAGE_UNAVAILABLE",
                "the database cannot be reached at the moment",
                retry_after_s=1.0,
            )
        case storage_errors.StorageBusy():
            return ApiError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "SERVER_BUSY",
                str(error),
                metadata={"limit": "most_queued_writes"},
                retry_after_s=error.retry_after_s,
            )
        case _:
            return internal_error()


def shutting_down() -> ApiError:
    """Return UNAVAILABLE: the server stops, and the caller had better go on with another."""
    return ApiError(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", "the server stops: reconnect", retry_after_s=0.1)


def internal_error() -> ApiError:
    """Return INTERNAL with a fresh incident id, under which the cause is logged."""
    incident = secrets.token_hex(6)
    return ApiError(
        grpc.StatusCode.INTERNAL,
        "INTERNAL",
        f"an internal error occurred; the server's log has it under incident {incident}",
        metadata={"incident": incident},
    )


def to_api_error(error: Exception) -> ApiError:
    """Map any exception to what the caller is told."""
    match error:
        case ApiError():
            return error
        case storage_errors.StorageError():
            return _from_storage(error)
        case _:
            return internal_error()


def _packed(detail: message.Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def to_status(error: ApiError) -> status_pb2.Status:
    """Return the `google.rpc.Status` of an error with its details."""
    code = error.code.value[0]
    details: list[message.Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)]
    if error.violations:
        bad = error_details_pb2.BadRequest()
        for violation in error.violations:
            bad.field_violations.add(field=violation.field, description=violation.description, reason=violation.reason)
        details.append(bad)
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return status_pb2.Status(code=code, message=error.text, details=[_packed(d) for d in details])
