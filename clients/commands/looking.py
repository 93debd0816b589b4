"""`reallot watch`, `subscribe`, `records`, `sellers`, `clock`: seeing what is, and following what happens."""

from datetime import datetime
from itertools import islice
from typing import Annotated, Any, Literal

import grpc
import typer

from reallot.clients.client import Gap, SnapshotEnd
from reallot.clients.commands import calendars, explaining, giving
from reallot.clients.errors import from_rpc
from reallot.clients.terminal import (
    DEFAULT_ADDRESS,
    INVALID,
    Address,
    AsJson,
    Workspace,
    connected,
    document,
    duration,
    fail,
    out,
    say,
    short,
    table,
)
from reallot.clients.values import from_value, moment, owner_text, timestamp, to_owner
from reallot.testing.v1 import clock_service_pb2, clock_service_pb2_grpc
from reallot.v1 import event_pb2, record_pb2, record_service_pb2, seller_pb2, seller_service_pb2

records = typer.Typer(add_completion=False, help="Look at records, give them to sellers, release them.", no_args_is_help=True)
for _given in (giving.assign, giving.release, giving.eligible):
    records.command()(_given)
sellers = typer.Typer(add_completion=False, help="Look at sellers and set when they work.", no_args_is_help=True)
sellers.command("suited")(explaining.suited)
for _command in (calendars.availability, calendars.hours, calendars.off, calendars.back, calendars.import_calendar):
    sellers.command()(_command)
clock = typer.Typer(add_completion=False, help="Move the clock of a server that runs with a manual one.", no_args_is_help=True)


def watch(
    cursor: Annotated[str, typer.Option(help="Go on after this cursor; empty = from now.")] = "",
    owner_changed: Annotated[bool, typer.Option(help="Only events in which the owner changed.")] = False,
    segment: Annotated[list[str] | None, typer.Option(help="Only this segment; may come often.")] = None,
    record: Annotated[list[str] | None, typer.Option(help="Only this record; may come often.")] = None,
    count: Annotated[int, typer.Option(help="End after this many; 0 = never.")] = 0,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Follow the workspace's events, over lost connections, until stopped."""
    with connected(address, workspace) as client:
        found = client.events.watch(cursor=cursor, owner_changed=owner_changed, segment_ids=segment or [], record_ids=record or [])
        for event in islice(found, count or None):
            _told(event, event, as_json=as_json)


def subscribe(
    seller: str,
    cursor: Annotated[str, typer.Option(help="Go on after this cursor; empty = from now.")] = "",
    unread: Annotated[bool, typer.Option(help="First what was not acknowledged.")] = False,
    count: Annotated[int, typer.Option(help="End after this many; 0 = never.")] = 0,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Follow one seller's notifications, over lost connections, until stopped."""
    with connected(address, workspace) as client:
        for notice in islice(client.events.subscribe(seller, cursor=cursor, unread_first=unread), count or None):
            is_notice = isinstance(notice, event_pb2.Notification)
            _told(notice, getattr(notice, notice.WhichOneof("content")) if is_notice else None, as_json=as_json)


def _told(item: Any, content: Any, *, as_json: bool) -> None:
    if isinstance(item, Gap):
        say({"gap": item.reason}) if as_json else out.print(f"gap: {item.reason}")
    elif isinstance(item, record_pb2.Record):
        say({"record": document(item)}) if as_json else out.print(f"{item.record_id}: {owner_text(item.owner)}", markup=False)
    elif isinstance(item, SnapshotEnd):
        say({"snapshot_end": document(item)}) if as_json else out.print("end of the list")
    elif as_json:
        say(document(item))
    else:
        kind = short(event_pb2.EventKind.Name(content.kind), "EVENT_KIND_") if hasattr(content, "kind") else "digest"
        out.print(
            f"{item.number:>8} {moment(item.time):%Y-%m-%d %H:%M:%S} {kind:<13} {content.sentence.text}", markup=False, soft_wrap=True
        )


def _status(number: int) -> str:
    return short(record_pb2.AssignmentStatus.Name(number), "ASSIGNMENT_STATUS_")  # type: ignore[arg-type]


@records.command("list")
def list_records(
    record_type: Annotated[str, typer.Option("--type", help="Only this type.")] = "",
    segment: Annotated[list[str] | None, typer.Option(help="Only this segment; may come often.")] = None,
    unassigned: Annotated[bool, typer.Option(help="Only records without an owner.")] = False,
    owner: Annotated[str, typer.Option(help="Only this owner.")] = "",
    where: Annotated[str, typer.Option("--filter", help="Only records for which this CEL condition holds; needs --type.")] = "",
    count: Annotated[int, typer.Option(help="Rows to show; 0 = all.")] = 50,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """List records with segment, owner and status."""
    with connected(address, workspace) as client:
        request = record_service_pb2.ListRecordsRequest(
            record_type=record_type,
            segment_ids=segment or [],
            unowned=unassigned,
            filter=where,
            owner=to_owner(owner) if owner else None,
        )
        found = client.iterate(client.inner.pages(client.inner.stubs.records.ListRecords, request, "records"))
        rows = []
        for record in islice(found, count or None):
            if as_json:
                say(document(record))
            else:
                rows.append(_waiting_row(record) if unassigned else _row(record))
        if not as_json and not rows:
            out.print(f"no such records in the workspace {workspace or 'default'}", markup=False)
        elif not as_json:
            columns = ("record", "segment", "status", "reason", "attempts", "next try (UTC)", "overdue (UTC)")
            table("", columns if unassigned else ("record", "segment", "owner", "status", "reason"), rows, numbers=("attempts",))


def _row(record: record_pb2.Record) -> tuple[Any, ...]:
    return (record.record_id, record.segment_id, owner_text(record.owner), _status(record.assignment.status), record.assignment.reason)


def _waiting_row(record: record_pb2.Record) -> tuple[Any, ...]:
    state = record.assignment
    times = (_instant(state, "next_try_time"), _instant(state, "overdue_time"))
    return (record.record_id, record.segment_id, _status(state.status), state.reason, state.attempts, *times)


@records.command("get")
def get_record(record: str, address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False) -> None:
    """Show one record."""
    with connected(address, workspace) as client:
        found = client.records.get(record)
        if as_json:
            say(document(found))
            return
        table("", ("field", "value"), [(name, from_value(value)) for name, value in sorted(found.fields.items())])
        state = found.assignment
        out.print(f"segment {found.segment_id or '(none)'}, owner {owner_text(found.owner) or '(none)'}: {_status(state.status)}")
        if not found.HasField("owner"):
            again = f"next try {_instant(state, 'next_try_time') or 'not known'}"
            overdue = f", overdue since {_instant(state, 'overdue_time')}" if state.HasField("overdue_time") else ""
            out.print(
                f"{state.reason or 'not looked at yet'}; attempts {state.attempts:,}, {again}{overdue} (UTC)", markup=False, soft_wrap=True
            )


def _instant(state: record_pb2.AssignmentState, name: Literal["next_try_time", "overdue_time"]) -> str:
    return f"{moment(getattr(state, name)):%Y-%m-%d %H:%M:%S}" if state.HasField(name) else ""


def _switch(seller: seller_pb2.Seller) -> str:
    return "off" if not seller.assignable else "not responding" if seller.HasField("not_responding_since_time") else ""


@sellers.command("return")
def return_sellers(seller: list[str], address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False) -> None:
    """Take sellers who let offers run out into the pool again."""
    with connected(address, workspace) as client:
        returned = client.sellers.come_back(seller)
        say({"returned": returned}) if as_json else out.print(f"{returned:,} returned")


@sellers.command("list")
def list_sellers(address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False) -> None:
    """List sellers with their load."""
    with connected(address, workspace) as client:
        found = client.sellers.list()
        if as_json:
            for seller in found:
                say(document(seller))
            return
        rows = [(s.seller_id, s.display_name, sum(load.effort for load in s.load), s.free, _switch(s)) for s in found]
        table("", ("seller", "name", "load", "free", "switch"), rows, numbers=("load", "free"))


@sellers.command("show")
def show_seller(seller: str, address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False) -> None:
    """Show one seller: what the seller carries and can still take."""
    with connected(address, workspace) as client:
        found = client.stubs.sellers.GetSeller(seller_service_pb2.GetSellerRequest(seller_id=seller))
        if as_json:
            say(document(found))
            return
        switch = "takes records" if found.assignable and found.roles_ok else "takes no records"
        out.print(f"{found.display_name or found.seller_id}: {found.free:,} free, {switch}", markup=False)
        loads = [(row.record_type, row.segment_id or "(none)", row.records, row.effort) for row in found.load]
        table("Carries", ("type", "segment", "records", "effort"), loads, numbers=("records", "effort"))
        maxima = [*found.capacity.by_record_type.items(), *found.capacity.by_segment.items()]
        if maxima:
            table("At most", ("type or segment", "units"), sorted(maxima), numbers=("units",))
        if found.window_use:
            columns = ("window", "for", "used", "free", "next free (UTC)")
            table("Rolling windows", columns, [_window_row(use) for use in found.window_use], numbers=("used", "free"))


def _window_row(use: seller_pb2.WindowUse) -> tuple[Any, ...]:
    window = use.window
    scope = window.segment_id or window.record_type or "everything"
    free_at = f"{moment(use.next_free_time):%Y-%m-%d %H:%M:%S}" if use.HasField("next_free_time") else ""
    return (f"{window.count:,} in {window.duration.ToTimedelta()}", scope, use.used, use.free, free_at)


def _clock_call(client: Any, name: str, request: Any) -> datetime:
    async def call() -> Any:
        try:
            return await getattr(clock_service_pb2_grpc.ClockServiceStub(client.inner.channel), name)(request)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from None

    return moment(client.run(call()).time)


@clock.command("get")
def clock_get(address: Address = DEFAULT_ADDRESS) -> None:
    """Show the server's time."""
    with connected(address, "") as client:
        out.print(f"{_clock_call(client, 'Get', clock_service_pb2.GetRequest()):%Y-%m-%dT%H:%M:%SZ}")


@clock.command("set")
def clock_set(instant: Annotated[str, typer.Argument(help="e.g. 2026-03-06T06:00Z")], address: Address = DEFAULT_ADDRESS) -> None:
    """Jump to an instant, as a stepped clock does."""
    try:
        wanted = timestamp(datetime.fromisoformat(instant))
    except ValueError as error:
        fail(error, INVALID)
    with connected(address, "") as client:
        out.print(f"{_clock_call(client, 'Set', clock_service_pb2.SetRequest(time=wanted)):%Y-%m-%dT%H:%M:%SZ}")


@clock.command("advance")
def clock_advance(
    length: Annotated[str, typer.Argument(metavar="DURATION", help="e.g. 90s, 15m, 8h, 3d")], address: Address = DEFAULT_ADDRESS
) -> None:
    """Live through some time: everything that falls due on the way is done."""
    request = clock_service_pb2.AdvanceRequest()
    request.duration.FromTimedelta(duration(length))
    with connected(address, "") as client:
        out.print(f"{_clock_call(client, 'Advance', request):%Y-%m-%dT%H:%M:%SZ}")
