"""The audit log, as callers see it."""

from reallot.server.convert.values import from_us, instant_fault, maybe_from_us, to_us
from reallot.server.errors import Violation
from reallot.server.tokens import page_token
from reallot.server.validation import refuse
from reallot.storage import ReadTransaction
from reallot.storage.entities import AuditEntry
from reallot.v1 import config_service_pb2 as pb


def list_audit(tx: ReadTransaction, workspace: str, request: pb.ListAuditRequest, after: int, size: int) -> pb.ListAuditResponse:
    """Return a page of the log.

    Raises:
        ApiError: an instant cannot be one.
    """
    instants = {name: getattr(request, name) for name in ("start_time", "end_time") if request.HasField(name)}
    refuse([Violation(name, fault) for name, instant in instants.items() if (fault := instant_fault(instant)) is not None])
    found = tx.audit.page(
        workspace,
        after,
        size + 1,
        principal=request.principal,
        kind=request.kind,
        name=request.id,
        from_us=to_us(request.start_time) if "start_time" in instants else None,
        to_us=to_us(request.end_time) if "end_time" in instants else None,
    )
    token = page_token(request, found[size - 1].number) if len(found) > size else ""
    return pb.ListAuditResponse(entries=[_message(entry) for entry in found[:size]], next_page_token=token)


def _message(entry: AuditEntry) -> pb.AuditEntry:
    return pb.AuditEntry(
        number=entry.number,
        time=from_us(entry.time_us),
        principal=entry.principal,
        origin=entry.origin,
        method=entry.method,
        on_behalf_of=entry.on_behalf_of,
        remark=entry.remark,
        kind=entry.kind,
        id=entry.id,
        before=entry.before,
        after=entry.after,
        redacted_time=maybe_from_us(entry.redacted_us),
    )
