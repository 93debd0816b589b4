"""SellerService: sellers, their working time and capacity."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import grpc

from reallot.server.convert.sellers import (
    calendar_of,
    capacity_document,
    counted_load,
    load_messages,
    maximum_of,
    seller_message,
    to_document,
    to_time_off,
    weekly_hours,
)
from reallot.server.convert.values import from_us, maybe_from_us, to_stored, to_us
from reallot.server.errors import Violation, failed_precondition, invalid, invalid_field, not_found, not_implemented
from reallot.server.idempotency import once
from reallot.server.runtime import Runtime, request_rerun
from reallot.server.tokens import page_token, read_page_token
from reallot.server.validation import LARGEST_CAPACITY, check_id, check_rows, page_size_of, refuse, workspace_of
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.calendars import DAY_US, Calendar, CalendarError, check_hours, first_available, working_intervals, zone_of
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.entities import Load, Seller, TimeOff, Turn
from reallot.v1 import seller_pb2, seller_service_pb2, seller_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_PATHS = {
    *("display_name", "priority", "attributes", "skills", "team_ids", "assignable", "roles_ok", "weight"),
    *("capacity", "calendar", "ramp_up"),
}
_OPTIONAL = ("display_name", "priority", "assignable", "roles_ok", "weight", "capacity", "calendar", "ramp_up")
_RANGES = {"priority": (0, 100), "weight": (1, 1_000)}
_DEFAULTS: dict[str, Any] = {"display_name": "", "priority": 50, "assignable": True, "roles_ok": True, "weight": 1}


def check_calendar(message: seller_pb2.Calendar, path: str) -> Iterator[Violation]:
    """Yield what is wrong with a calendar."""
    if message.holiday_country or message.holiday_region:
        raise not_implemented("public holidays in calendars")
    try:
        zone_of(message.time_zone)
    except CalendarError as error:
        yield Violation(f"{path}.time_zone", str(error), "INVALID_CALENDAR")
    for name, hours in [("weekly", message.weekly), *((f"exceptions[{i}].hours", e.hours) for i, e in enumerate(message.exceptions))]:
        try:
            items = [weekly_hours(h) for h in hours]
            check_hours([replace(h, day=0) for h in items] if name != "weekly" else items)
        except CalendarError as error:
            yield Violation(f"{path}.{name}", str(error), "INVALID_CALENDAR")


class SellerReader:
    """Reads rows of seller upserts against one configuration; collects the violations of all of them."""

    def __init__(self, config: WorkspaceConfig) -> None:
        self._config = config
        self.violations: list[Violation] = []

    def read(self, row: seller_service_pb2.SellerUpsert, before: Seller | None, path: str) -> Seller:
        """Return the seller as it will be; what has faults is left as it was."""
        message = row.seller
        self.violations.extend(check_id(f"{path}.seller.seller_id", message.seller_id))
        mask = self._mask(row, path)
        if "ramp_up" in mask and message.HasField("ramp_up"):
            raise not_implemented("ramp-up of newcomers")
        after = before or Seller(message.seller_id)
        for name in mask.intersection(_DEFAULTS):
            after = replace(after, **{name: self._scalar(message, name, path)})
        if "team_ids" in mask:
            after = replace(after, team_ids=self._teams(message, path))
        if "capacity" in mask:
            after = replace(after, capacity=self._capacity(message.capacity, f"{path}.seller.capacity"))
        if "calendar" in mask:
            self.violations.extend(check_calendar(message.calendar, f"{path}.seller.calendar") if message.HasField("calendar") else ())
            after = replace(after, calendar=to_document(message.calendar) if message.HasField("calendar") else None)
        attributes = self._attributes(message, mask, f"{path}.seller.attributes")
        skills = self._skills(message, mask, f"{path}.seller.skills")
        return replace(
            after,
            attributes={k: v for k, v in {**after.attributes, **attributes}.items() if v is not None},
            skills={k: v for k, v in {**after.skills, **skills}.items() if v},
        )

    def _mask(self, row: seller_service_pb2.SellerUpsert, path: str) -> set[str]:
        message = row.seller
        if not row.HasField("update_mask"):
            present = {name for name in _OPTIONAL if message.HasField(name)}  # type: ignore[arg-type]
            return present | {"attributes", "skills"} | ({"team_ids"} if message.team_ids else set())
        if list(row.update_mask.paths) == ["*"]:
            return set(_PATHS) | {"*"}
        for name in row.update_mask.paths:
            head, _, tail = name.partition(".")
            if name not in _PATHS and not (head in ("attributes", "skills") and tail):
                self.violations.append(Violation(f"{path}.update_mask", f"{name!r} cannot be written", "UNKNOWN_MASK_PATH"))
        return set(row.update_mask.paths)

    def _scalar(self, message: seller_pb2.Seller, name: str, path: str) -> Any:
        value = getattr(message, name) if message.HasField(name) else _DEFAULTS[name]  # type: ignore[arg-type]
        low, high = _RANGES.get(name, (None, None))
        if low is not None and high is not None and not low <= value <= high:
            self.violations.append(Violation(f"{path}.seller.{name}", f"{value} is not between {low} and {high}"))
        return value

    def _teams(self, message: seller_pb2.Seller, path: str) -> tuple[str, ...]:
        for team in message.team_ids:
            if self._config.find("team", team) is None:
                self.violations.append(Violation(f"{path}.seller.team_ids", f"team {team!r} does not exist", "UNKNOWN_REFERENCE"))
        return tuple(sorted(set(message.team_ids)))

    def _capacity(self, message: seller_pb2.Capacity, path: str) -> dict[str, Any]:
        if message.windows:
            raise not_implemented("capacity in rolling windows")
        document = capacity_document(message)
        values = [("total", document.get("total", 0))]
        values += [(f"{n}.{k}", v) for n in ("by_record_type", "by_segment") for k, v in document.get(n, {}).items()]
        for name, value in values:
            if not 0 <= value <= LARGEST_CAPACITY:
                self.violations.append(Violation(f"{path}.{name}", f"{value} is not between 0 and {LARGEST_CAPACITY}"))
        for kind, key in (("record_type", "by_record_type"), ("segment", "by_segment")):
            for name in document.get(key, {}):
                if self._config.find(kind, name) is None:
                    self.violations.append(Violation(f"{path}.{key}.{name}", f"{kind} {name!r} does not exist", "UNKNOWN_REFERENCE"))
        return document

    def _attributes(self, message: seller_pb2.Seller, mask: set[str], path: str) -> dict[str, Any]:
        declared = {f.id: f.type for f in self._config.seller_schema.fields if f.id not in ("seller_id", "teams")}
        found: dict[str, Any] = dict.fromkeys(declared) if "*" in mask else {}
        for name, value in message.attributes.items():
            if name not in declared:
                text = f"{name!r} is not declared in the settings' seller_fields"
                self.violations.append(Violation(f"{path}.{name}", text, "UNKNOWN_FIELD"))
                continue
            try:
                found[name] = to_stored(value, declared[name])
            except ValueError as error:
                self.violations.append(Violation(f"{path}.{name}", str(error), "WRONG_TYPE"))
        return found if "attributes" in mask else {k: v for k, v in found.items() if f"attributes.{k}" in mask}

    def _skills(self, message: seller_pb2.Seller, mask: set[str], path: str) -> dict[str, int]:
        for name, grade in message.skills.items():
            if not 0 <= grade <= 10:
                self.violations.append(Violation(f"{path}.{name}", f"{grade} is not between 1 and 10 (0 removes the skill)"))
        found = dict(message.skills)
        return found if "skills" in mask else {k: v for k, v in found.items() if f"skills.{k}" in mask}


class SellerService(seller_service_pb2_grpc.SellerServiceServicer):
    """Keeps sellers, their working time and capacity."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def UpsertSellers(  # noqa: N802
        self, request: seller_service_pb2.UpsertSellersRequest, context: Context
    ) -> seller_service_pb2.UpsertSellersResponse:
        """Store sellers, whole or in part; all or none."""
        workspace = workspace_of(request)
        refuse(check_rows("sellers", request.sellers))

        def work(tx: WriteTransaction) -> seller_service_pb2.UpsertSellersResponse:
            return self._upsert(tx, self._runtime.configs.of(tx, workspace), request)

        return await self._runtime.write(once(request, workspace, seller_service_pb2.UpsertSellersResponse, work))

    def _upsert(
        self, tx: WriteTransaction, config: WorkspaceConfig, request: seller_service_pb2.UpsertSellersRequest
    ) -> seller_service_pb2.UpsertSellersResponse:
        reader = SellerReader(config)
        stored = tx.sellers.get(config.workspace, [row.seller.seller_id for row in request.sellers])
        present, results = dict(stored), []
        for index, row in enumerate(request.sellers):
            path, name = f"sellers[{index}]", row.seller.seller_id
            before = present.get(name)
            if row.seller.etag and before is not None and row.seller.etag != str(before.version):
                reader.violations.append(Violation(f"{path}.seller.etag", "the seller was changed since it was read", "ETAG_MISMATCH"))
            if row.seller.last_assigned and before is not None:
                reader.violations.append(Violation(f"{path}.seller.last_assigned", "it is accepted on the first upsert only"))
            after = reader.read(row, before, path)
            unchanged = after == before
            if not unchanged:
                create_us = before.create_us if before else tx.now_us
                after = replace(after, version=after.version + 1, create_us=create_us, update_us=tx.now_us)
            present[name] = after
            results.append(
                seller_service_pb2.SellerResult(seller_id=name, created=before is None, unchanged=unchanged, etag=str(after.version))
            )
        if reader.violations:
            raise invalid(reader.violations)
        if not request.validate_only:
            self._store(tx, config, request, stored, present)
        return seller_service_pb2.UpsertSellersResponse(results=results)

    def _store(
        self,
        tx: WriteTransaction,
        config: WorkspaceConfig,
        request: seller_service_pb2.UpsertSellersRequest,
        stored: dict[str, Seller],
        present: dict[str, Seller],
    ) -> None:
        changed = [seller for name, seller in present.items() if seller != stored.get(name)]
        tx.sellers.upsert(config.workspace, changed)
        turns = [
            Turn(row.seller.seller_id, record_type, last.order, to_us(last.time))
            for row in request.sellers
            if row.seller.seller_id not in stored
            for record_type, last in row.seller.last_assigned.items()
        ]
        tx.sellers.set_turns(config.workspace, turns)
        if changed:
            request_rerun(tx, config, "SELLER_JOINED")
            tx.signal(config.workspace, "sellers")

    async def RetireSeller(  # noqa: N802
        self, request: seller_service_pb2.RetireSellerRequest, context: Context
    ) -> seller_service_pb2.RetireSellerResponse:
        """Hand over what a leaving seller owns."""
        raise not_implemented("retiring a seller")

    async def GetSeller(self, request: seller_service_pb2.GetSellerRequest, context: Context) -> seller_pb2.Seller:  # noqa: N802
        """Return one seller."""
        workspace = workspace_of(request)

        def read(tx: ReadTransaction) -> seller_pb2.Seller:
            seller = _seller(tx, workspace, request.seller_id)
            return self._messages(tx, self._runtime.configs.of(tx, workspace), [seller])[0]

        return await self._runtime.read(read)

    async def ListSellers(  # noqa: N802
        self, request: seller_service_pb2.ListSellersRequest, context: Context
    ) -> seller_service_pb2.ListSellersResponse:
        """List sellers by id."""
        workspace, size, after = workspace_of(request), page_size_of(request), read_page_token(request)

        def read(tx: ReadTransaction) -> seller_service_pb2.ListSellersResponse:
            found = [s for s in tx.sellers.get(workspace).values() if s.seller_id > (after or "")]
            if request.team_id:
                found = [s for s in found if request.team_id in s.team_ids]
            token = page_token(request, found[size - 1].seller_id) if len(found) > size else ""
            messages = self._messages(tx, self._runtime.configs.of(tx, workspace), found[:size])
            return seller_service_pb2.ListSellersResponse(sellers=messages, next_page_token=token)

        return await self._runtime.read(read)

    def _messages(self, tx: ReadTransaction, config: WorkspaceConfig, sellers: Sequence[Seller]) -> list[seller_pb2.Seller]:
        ids = [s.seller_id for s in sellers]
        loads, turns, away = _by_seller(tx, config.workspace, ids, self._runtime.clock.now_us())
        return [
            seller_message(s, config, loads.get(s.seller_id, []), turns.get(s.seller_id, []), away.get(s.seller_id, [])) for s in sellers
        ]

    async def DeleteSellers(  # noqa: N802
        self, request: seller_service_pb2.DeleteSellersRequest, context: Context
    ) -> seller_service_pb2.DeleteSellersResponse:
        """Delete sellers who own nothing."""
        workspace = workspace_of(request)
        refuse(check_rows("seller_ids", request.seller_ids))

        def work(tx: WriteTransaction) -> seller_service_pb2.DeleteSellersResponse:
            for seller_id in request.seller_ids:
                if (owned := tx.sellers.owned_count(workspace, seller_id)) > 0:
                    text = f"seller {seller_id!r} still owns {owned} records"
                    raise failed_precondition("SELLER_OWNS_RECORDS", text, seller=seller_id, records=str(owned))
            return seller_service_pb2.DeleteSellersResponse(deleted=tx.sellers.delete(workspace, list(request.seller_ids)))

        return await self._runtime.write(once(request, workspace, seller_service_pb2.DeleteSellersResponse, work))

    async def SetCalendar(  # noqa: N802
        self, request: seller_service_pb2.SetCalendarRequest, context: Context
    ) -> seller_service_pb2.SetCalendarResponse:
        """Set the calendar of sellers."""
        workspace = workspace_of(request)
        refuse([*check_rows("seller_ids", request.seller_ids), *self._calendar_faults(request)])

        def work(tx: WriteTransaction) -> seller_service_pb2.SetCalendarResponse:
            config = self._runtime.configs.of(tx, workspace)
            document = to_document(request.calendar) if request.HasField("calendar") else None
            found = [_seller(tx, workspace, seller_id) for seller_id in request.seller_ids]
            tx.sellers.upsert(workspace, [replace(s, calendar=document, version=s.version + 1, update_us=tx.now_us) for s in found])
            request_rerun(tx, config, "SELLER_AVAILABLE")
            return seller_service_pb2.SetCalendarResponse()

        return await self._runtime.write(once(request, workspace, seller_service_pb2.SetCalendarResponse, work))

    @staticmethod
    def _calendar_faults(request: seller_service_pb2.SetCalendarRequest) -> list[Violation]:
        return list(check_calendar(request.calendar, "calendar")) if request.HasField("calendar") else []

    async def AddTimeOff(  # noqa: N802
        self, request: seller_service_pb2.AddTimeOffRequest, context: Context
    ) -> seller_service_pb2.AddTimeOffResponse:
        """Add an absence to sellers."""
        workspace = workspace_of(request)
        refuse([*check_rows("seller_ids", request.seller_ids), *check_id("time_off.time_off_id", request.time_off.time_off_id)])
        if to_us(request.time_off.end_time) <= to_us(request.time_off.start_time):
            raise invalid_field("time_off.end_time", "the absence ends before it starts", "INVALID_CALENDAR")

        def work(tx: WriteTransaction) -> seller_service_pb2.AddTimeOffResponse:
            found = [_seller(tx, workspace, seller_id) for seller_id in request.seller_ids]
            tx.sellers.add_time_off(workspace, [to_time_off(s.seller_id, request.time_off) for s in found])
            return seller_service_pb2.AddTimeOffResponse()

        return await self._runtime.write(once(request, workspace, seller_service_pb2.AddTimeOffResponse, work))

    async def RemoveTimeOff(  # noqa: N802
        self, request: seller_service_pb2.RemoveTimeOffRequest, context: Context
    ) -> seller_service_pb2.RemoveTimeOffResponse:
        """Remove absences of a seller."""
        workspace = workspace_of(request)

        def work(tx: WriteTransaction) -> seller_service_pb2.RemoveTimeOffResponse:
            _seller(tx, workspace, request.seller_id)
            removed = tx.sellers.remove_time_off(workspace, request.seller_id, list(request.time_off_ids))
            if removed:
                request_rerun(tx, self._runtime.configs.of(tx, workspace), "SELLER_AVAILABLE")
            return seller_service_pb2.RemoveTimeOffResponse(removed=removed)

        return await self._runtime.write(once(request, workspace, seller_service_pb2.RemoveTimeOffResponse, work))

    async def GetAvailability(  # noqa: N802
        self, request: seller_service_pb2.GetAvailabilityRequest, context: Context
    ) -> seller_service_pb2.GetAvailabilityResponse:
        """Return when a seller works."""
        workspace, now_us = workspace_of(request), self._runtime.clock.now_us()
        days = request.days or 7
        if not 1 <= days <= 31:
            raise invalid_field("days", f"{days} is not between 1 and 31")
        start_us = to_us(request.start_time) if request.HasField("start_time") else now_us

        def read(tx: ReadTransaction) -> seller_service_pb2.GetAvailabilityResponse:
            seller = _seller(tx, workspace, request.seller_id)
            away = tx.sellers.time_off(workspace, min(start_us, now_us), [seller.seller_id])
            calendar = calendar_of(seller.calendar, tuple((row.start_us, row.end_us) for row in away)) or Calendar()
            first = first_available(calendar, now_us, 30 * DAY_US)
            working = working_intervals(calendar, start_us, start_us + days * DAY_US)
            return seller_service_pb2.GetAvailabilityResponse(
                time_zone=calendar.zone or "",
                available_now=first == now_us,
                next_available_time=maybe_from_us(first if first >= 0 else None),
                working=[seller_service_pb2.TimeInterval(start_time=from_us(a), end_time=from_us(b)) for a, b in working.tolist()],
            )

        return await self._runtime.read(read)

    async def ListCapacity(  # noqa: N802
        self, request: seller_service_pb2.ListCapacityRequest, context: Context
    ) -> seller_service_pb2.ListCapacityResponse:
        """List capacity, load and what is free, by seller."""
        workspace, size, after = workspace_of(request), page_size_of(request), read_page_token(request)

        def read(tx: ReadTransaction) -> seller_service_pb2.ListCapacityResponse:
            config = self._runtime.configs.of(tx, workspace)
            found = tx.sellers.page(workspace, after or "", size + 1)
            loads, _, _ = _by_seller(tx, workspace, [s.seller_id for s in found], self._runtime.clock.now_us())
            rows = [_capacity(s, config, loads.get(s.seller_id, [])) for s in found[:size]]
            token = page_token(request, found[size - 1].seller_id) if len(found) > size else ""
            return seller_service_pb2.ListCapacityResponse(sellers=rows, next_page_token=token)

        return await self._runtime.read(read)


def _capacity(seller: Seller, config: WorkspaceConfig, loads: Sequence[Load]) -> seller_service_pb2.SellerCapacity:
    maximum, load = maximum_of(seller, config), counted_load(loads, config)
    return seller_service_pb2.SellerCapacity(
        seller_id=seller.seller_id, maximum=maximum, load=load, free=maximum - load, loads=load_messages(loads)
    )


def _seller(tx: ReadTransaction, workspace: str, seller_id: str) -> Seller:
    found = tx.sellers.get(workspace, [seller_id]).get(seller_id)
    if found is None:
        raise not_found("seller", seller_id)
    return found


def _by_seller(
    tx: ReadTransaction, workspace: str, ids: Sequence[str], now_us: int
) -> tuple[dict[str, list[Load]], dict[str, list[Turn]], dict[str, list[TimeOff]]]:
    loads: dict[str, list[Load]] = {}
    turns: dict[str, list[Turn]] = {}
    away: dict[str, list[TimeOff]] = {}
    for load in tx.sellers.loads(workspace, ids):
        loads.setdefault(load.seller_id, []).append(load)
    for turn in tx.sellers.turns(workspace, ids):
        turns.setdefault(turn.seller_id, []).append(turn)
    for row in tx.sellers.time_off(workspace, now_us, ids):
        away.setdefault(row.seller_id, []).append(row)
    return loads, turns, away
