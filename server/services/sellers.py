"""SellerService: sellers, their working time and capacity."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import grpc

from reallot.server.convert.seller_upserts import SellerReader, check_calendar
from reallot.server.convert.sellers import (
    calendar_of,
    counted_load,
    load_messages,
    maximum_of,
    seller_message,
    to_document,
    to_time_off,
    window_uses,
)
from reallot.server.convert.values import from_us, instant_fault, maybe_from_us, to_owner, to_us
from reallot.server.errors import ApiError, Violation, failed_precondition, invalid_field, not_found
from reallot.server.handover import retire
from reallot.server.idempotency import once
from reallot.server.languages import speech_of
from reallot.server.languages.saying import say
from reallot.server.offers import come_back, reschedule, silence_of, take_back
from reallot.server.room import expect_anew, set_growth_timers
from reallot.server.runtime import Runtime, request_rerun
from reallot.server.tokens import page_token, read_page_token
from reallot.server.validation import LONGEST_TEXT, check_id, check_rows, page_size_of, refuse, workspace_of
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.calendars import (
    DAY_US,
    Calendar,
    first_available,
    working_intervals,
)
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.entities import Gain, Load, Seller, TimeOff, Turn, Window
from reallot.storage.windows import longest, windows_of
from reallot.v1 import seller_pb2, seller_service_pb2, seller_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
FARTHEST_VIEW_US = 100 * 366 * DAY_US
"""How far from now working time can be asked for."""


def rerun_causes(before: Seller | None, after: Seller, config: WorkspaceConfig, now_us: int) -> set[str]:
    """Return why waiting records may find an owner once a seller has changed; none if the change cannot help."""
    if not (after.assignable and after.roles_ok):
        return set()
    if before is None or not (before.assignable and before.roles_ok):
        return {"SELLER_JOINED"}
    causes = set()
    if (before.attributes, before.skills, before.team_ids, before.stand_in_id) != (
        *(after.attributes, after.skills, after.team_ids, after.stand_in_id),
    ):
        causes.add("SELLER_JOINED")
    if before.calendar != after.calendar:
        causes.add("SELLER_AVAILABLE")
    if _has_more_room(before, after, config, now_us):
        causes.add("CAPACITY_FREED")
    return causes


def _has_more_room(before: Seller, after: Seller, config: WorkspaceConfig, now_us: int) -> bool:
    if maximum_of(after, config, now_us) > maximum_of(before, config, now_us):
        return True
    kept, keeps = before.capacity.get("reserved") or {}, after.capacity.get("reserved") or {}
    if any(keeps.get(name, 0) < units for name, units in kept.items()):
        return True
    for kind in ("by_record_type", "by_segment"):
        old, new = before.capacity.get(kind) or {}, after.capacity.get(kind) or {}
        if any(name not in new or new[name] > maximum for name, maximum in old.items()):
            return True
    before_windows, after_windows = windows_of(before.capacity), windows_of(after.capacity)
    return any(not any(_is_as_strict(new, old) for new in after_windows) for old in before_windows)


def _is_as_strict(window: Window, other: Window) -> bool:
    """Tell whether who keeps within one window keeps within the other, too."""
    same = (window.record_type, window.segment_id) == (other.record_type, other.segment_id)
    return same and window.count <= other.count and window.duration_us >= other.duration_us


class _PreviewedError(Exception):
    """A unit of work was tried out; raised so that it is undone."""

    def __init__(self, records: int) -> None:
        super().__init__("only a preview was asked for")
        self.records = records


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

        return await self._runtime.write(workspace, once(request, workspace, seller_service_pb2.UpsertSellersResponse, work))

    def _upsert(
        self, tx: WriteTransaction, config: WorkspaceConfig, request: seller_service_pb2.UpsertSellersRequest
    ) -> seller_service_pb2.UpsertSellersResponse:
        reader = SellerReader(config, tx.now_us)
        stored = tx.sellers.get(config.workspace, [row.seller.seller_id for row in request.sellers])
        present, results, stale = dict(stored), [], []
        for index, row in enumerate(request.sellers):
            path, name = f"sellers[{index}]", row.seller.seller_id
            before = present.get(name)
            if row.seller.etag and row.seller.etag != str(before.version if before else 0):
                stale.append(name)
            if row.seller.last_assigned and before is not None:
                reader.violations.append(Violation(f"{path}.seller.last_assigned", "it is accepted on the first upsert only"))
            reader.last_assigned(row.seller, path)
            after = reader.read(row, before, path)
            unchanged = after == before
            if not unchanged:
                create_us = before.create_us if before else tx.now_us
                after = replace(after, version=after.version + 1, create_us=create_us, update_us=tx.now_us)
            present[name] = after
            results.append(
                seller_service_pb2.SellerResult(seller_id=name, created=before is None, unchanged=unchanged, etag=str(after.version))
            )
        refuse([*reader.violations, *_stand_in_faults(tx, config, request, present)])
        if stale:
            text = f"seller {stale[0]!r} was changed since it was read"
            raise ApiError(grpc.StatusCode.ABORTED, "ETAG_MISMATCH", text, metadata={"seller": stale[0]})
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
        _recall_gains(tx, config.workspace, stored, changed)
        set_growth_timers(tx, config, changed)
        causes: dict[str, set[str]] = {}
        for seller in changed:
            for cause in rerun_causes(stored.get(seller.seller_id), seller, config, tx.now_us):
                causes.setdefault(cause, set()).add(seller.seller_id)
        for cause, sellers in sorted(causes.items()):
            request_rerun(tx, config, cause, sellers)
        if changed:
            tx.signal(config.workspace, "sellers")
        _time_anew(
            tx, config.workspace, [s.seller_id for s in changed if s.seller_id in stored and s.calendar != stored[s.seller_id].calendar]
        )
        self._follow_offers(tx, config, stored, changed)

    @staticmethod
    def _follow_offers(tx: WriteTransaction, config: WorkspaceConfig, stored: dict[str, Seller], changed: Sequence[Seller]) -> None:
        """Take back the offers of those who take nothing any more, and bring back to the pool who shows that he is there."""
        known = [(stored[seller.seller_id], seller) for seller in changed if seller.seller_id in stored]
        silent = [s.seller_id for _, s in known if not (s.assignable and s.roles_ok)]
        take_back(tx, config, silent, lambda name: say("seller_takes_none", seller=name))
        shifted = [after.seller_id for before, after in known if before.calendar != after.calendar]
        reschedule(tx, config, shifted)
        switched_on = [after.seller_id for before, after in known if after.assignable and not before.assignable]
        come_back(tx, config, [*shifted, *switched_on])

    async def RetireSeller(  # noqa: N802
        self, request: seller_service_pb2.RetireSellerRequest, context: Context
    ) -> seller_service_pb2.RetireSellerResponse:
        """Hand over what a leaving seller owns."""
        workspace, successor = workspace_of(request), to_owner(request.successor)

        def work(tx: WriteTransaction) -> seller_service_pb2.RetireSellerResponse:
            answer = retire(tx, self._runtime.configs.of(tx, workspace), request.seller_id, successor)
            if request.validate_only:
                raise _PreviewedError(answer.records)
            return answer

        try:
            return await self._runtime.write(workspace, once(request, workspace, seller_service_pb2.RetireSellerResponse, work))
        except _PreviewedError as previewed:
            # The run would only be begun by the retirement itself.
            return seller_service_pb2.RetireSellerResponse(records=previewed.records)

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
        ids, now_us = [s.seller_id for s in sellers], self._runtime.clock.now_us()
        loads, turns, away = _by_seller(tx, config.workspace, ids, now_us)
        uses = _window_uses(tx, config.workspace, sellers, now_us)
        messages = [
            seller_message(s, config, loads.get(i, []), turns.get(i, []), away.get(i, []), uses[i], now_us)
            for i, s in zip(ids, sellers, strict=True)
        ]
        silent, speech = tx.offers.unanswered(config.workspace, ids), speech_of(config)
        for message in messages:
            row = silent.get(message.seller_id)
            if row is not None and row.since_us is not None:
                message.not_responding_since_time.CopyFrom(from_us(row.since_us))
                message.not_responding_reason = speech.text(silence_of(row))
        return messages

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
            take_back(tx, self._runtime.configs.of(tx, workspace), list(request.seller_ids), lambda name: say("seller_gone", seller=name))
            return seller_service_pb2.DeleteSellersResponse(deleted=tx.sellers.delete(workspace, list(request.seller_ids)))

        return await self._runtime.write(workspace, once(request, workspace, seller_service_pb2.DeleteSellersResponse, work))

    async def SetCalendar(  # noqa: N802
        self, request: seller_service_pb2.SetCalendarRequest, context: Context
    ) -> seller_service_pb2.SetCalendarResponse:
        """Set the calendar of sellers."""
        workspace = workspace_of(request)
        refuse([*check_rows("seller_ids", request.seller_ids), *self._calendar_faults(request)])

        def work(tx: WriteTransaction) -> seller_service_pb2.SetCalendarResponse:
            config = self._runtime.configs.of(tx, workspace)
            document = to_document(request.calendar) if request.HasField("calendar") else None
            found = [_seller(tx, workspace, seller_id) for seller_id in dict.fromkeys(request.seller_ids)]
            others = [s for s in found if s.calendar != document]
            tx.sellers.upsert(workspace, [replace(s, calendar=document, version=s.version + 1, update_us=tx.now_us) for s in others])
            if others:
                request_rerun(tx, config, "SELLER_AVAILABLE", list(request.seller_ids))
                tx.signal(workspace, "sellers")
                reschedule(tx, config, [s.seller_id for s in others])
                come_back(tx, config, [s.seller_id for s in others])
            _time_anew(tx, workspace, [s.seller_id for s in others])
            return seller_service_pb2.SetCalendarResponse()

        return await self._runtime.write(workspace, once(request, workspace, seller_service_pb2.SetCalendarResponse, work))

    @staticmethod
    def _calendar_faults(request: seller_service_pb2.SetCalendarRequest) -> list[Violation]:
        return list(check_calendar(request.calendar, "calendar")) if request.HasField("calendar") else []

    async def AddTimeOff(  # noqa: N802
        self, request: seller_service_pb2.AddTimeOffRequest, context: Context
    ) -> seller_service_pb2.AddTimeOffResponse:
        """Add an absence to sellers."""
        workspace = workspace_of(request)
        refuse([*check_rows("seller_ids", request.seller_ids), *_absence_faults(request.time_off)])

        def work(tx: WriteTransaction) -> seller_service_pb2.AddTimeOffResponse:
            ids = list(dict.fromkeys(request.seller_ids))
            added = [to_time_off(_seller(tx, workspace, seller_id).seller_id, request.time_off) for seller_id in ids]
            replaced = {(row.seller_id, row.time_off_id) for row in tx.sellers.time_off(workspace, tx.now_us, ids)}
            tx.sellers.add_time_off(workspace, added)
            reschedule(tx, self._runtime.configs.of(tx, workspace), ids)
            # Whoever stands in may take what waits, now or when the absence begins.
            stand_ins = {s.seller_id: s.stand_in_id for s in tx.sellers.get(workspace, ids).values() if s.stand_in_id}
            request_rerun(tx, self._runtime.configs.of(tx, workspace), "SELLER_AVAILABLE", {*stand_ins, *stand_ins.values()})
            if any((row.seller_id, row.time_off_id) in replaced for row in added):
                # The absence that is replaced may have been the longer one.
                request_rerun(tx, self._runtime.configs.of(tx, workspace), "SELLER_AVAILABLE", ids)
            expect_anew(tx, self._runtime.configs.of(tx, workspace), added)
            _time_anew(tx, workspace, ids)
            return seller_service_pb2.AddTimeOffResponse()

        return await self._runtime.write(workspace, once(request, workspace, seller_service_pb2.AddTimeOffResponse, work))

    async def RemoveTimeOff(  # noqa: N802
        self, request: seller_service_pb2.RemoveTimeOffRequest, context: Context
    ) -> seller_service_pb2.RemoveTimeOffResponse:
        """Remove absences of a seller."""
        workspace = workspace_of(request)
        refuse(check_rows("time_off_ids", request.time_off_ids))

        def work(tx: WriteTransaction) -> seller_service_pb2.RemoveTimeOffResponse:
            _seller(tx, workspace, request.seller_id)
            removed = tx.sellers.remove_time_off(workspace, request.seller_id, list(request.time_off_ids))
            if removed:
                config = self._runtime.configs.of(tx, workspace)
                request_rerun(tx, config, "SELLER_AVAILABLE", [request.seller_id])
                reschedule(tx, config, [request.seller_id])
                come_back(tx, config, [request.seller_id])
                _time_anew(tx, workspace, [request.seller_id])
            return seller_service_pb2.RemoveTimeOffResponse(removed=removed)

        return await self._runtime.write(workspace, once(request, workspace, seller_service_pb2.RemoveTimeOffResponse, work))

    async def ReturnSellers(  # noqa: N802
        self, request: seller_service_pb2.ReturnSellersRequest, context: Context
    ) -> seller_service_pb2.ReturnSellersResponse:
        """Take sellers who let offers run out into the pool again."""
        workspace = workspace_of(request)
        refuse(check_rows("seller_ids", request.seller_ids))

        def work(tx: WriteTransaction) -> seller_service_pb2.ReturnSellersResponse:
            found = [_seller(tx, workspace, seller_id).seller_id for seller_id in dict.fromkeys(request.seller_ids)]
            return seller_service_pb2.ReturnSellersResponse(returned=come_back(tx, self._runtime.configs.of(tx, workspace), found))

        return await self._runtime.write(workspace, once(request, workspace, seller_service_pb2.ReturnSellersResponse, work))

    async def GetAvailability(  # noqa: N802
        self, request: seller_service_pb2.GetAvailabilityRequest, context: Context
    ) -> seller_service_pb2.GetAvailabilityResponse:
        """Return when a seller works."""
        workspace, now_us = workspace_of(request), self._runtime.clock.now_us()
        days = request.days or 7
        if not 1 <= days <= 31:
            raise invalid_field("days", f"{days} is not between 1 and 31")
        if (fault := instant_fault(request.start_time)) is not None:
            raise invalid_field("start_time", fault)
        start_us = to_us(request.start_time) if request.HasField("start_time") else now_us
        if abs(start_us - now_us) > FARTHEST_VIEW_US:
            raise invalid_field("start_time", "it is more than 100 years away")

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
            now_us = self._runtime.clock.now_us()
            loads, _, _ = _by_seller(tx, workspace, [s.seller_id for s in found], now_us)
            uses = _window_uses(tx, workspace, found, now_us)
            rows = [_capacity(s, config, loads.get(s.seller_id, []), uses[s.seller_id], now_us) for s in found[:size]]
            token = page_token(request, found[size - 1].seller_id) if len(found) > size else ""
            return seller_service_pb2.ListCapacityResponse(sellers=rows, next_page_token=token)

        return await self._runtime.read(read)


def _stand_in_faults(
    tx: ReadTransaction, config: WorkspaceConfig, request: seller_service_pb2.UpsertSellersRequest, present: dict[str, Seller]
) -> Iterator[Violation]:
    """Yield the rows whose seller's stand-in does not exist, or is the seller."""
    named = {seller.stand_in_id for seller in present.values()} - {"", *present}
    known = {*present, *tx.sellers.get(config.workspace, named)}
    for index, row in enumerate(request.sellers):
        stand_in = row.seller.stand_in_id
        if stand_in and stand_in == row.seller.seller_id:
            yield Violation(f"sellers[{index}].seller.stand_in_id", "nobody stands in for oneself")
        elif stand_in and stand_in not in known:
            yield Violation(f"sellers[{index}].seller.stand_in_id", f"seller {stand_in!r} does not exist", "UNKNOWN_REFERENCE")


def _time_anew(tx: WriteTransaction, workspace: str, seller_ids: Sequence[str]) -> None:
    """Have the open steps of sellers timed anew, and what is held back for them, whose working time has changed."""
    if seller_ids:
        tx.steps.ask_sellers(workspace, seller_ids, tx.now_us)
        tx.signal(workspace, "steps")
        tx.quiet.forget(workspace, seller_ids)
        tx.signal(workspace, "quiet")


def _recall_gains(tx: WriteTransaction, workspace: str, stored: Mapping[str, Seller], changed: Sequence[Seller]) -> None:
    """Note what sellers were given lately, where a window reaches further back than what is kept of them."""
    windows = {}
    for seller in changed:
        before, own = stored.get(seller.seller_id), windows_of(seller.capacity)
        if before is not None and longest(own) > longest(windows_of(before.capacity)):
            windows[seller.seller_id] = own
    tx.sellers.windows.recall(workspace, windows, tx.now_us)
    if windows:
        tx.signal(workspace, "timers")


def _absence_faults(absence: seller_pb2.TimeOff) -> Iterator[Violation]:
    yield from check_id("time_off.time_off_id", absence.time_off_id)
    faults = {name: instant_fault(getattr(absence, name)) for name in ("start_time", "end_time")}
    yield from (Violation(f"time_off.{name}", fault, "INVALID_CALENDAR") for name, fault in faults.items() if fault is not None)
    if to_us(absence.end_time) <= to_us(absence.start_time):
        yield Violation("time_off.end_time", "the absence ends before it starts", "INVALID_CALENDAR")
    if len(absence.note) > LONGEST_TEXT:
        yield Violation("time_off.note", f"a note has at most {LONGEST_TEXT} characters")


def _window_uses(tx: ReadTransaction, workspace: str, sellers: Sequence[Seller], now_us: int) -> dict[str, list[seller_pb2.WindowUse]]:
    """Return how the windows of sellers stand, by seller."""
    windows = {s.seller_id: windows_of(s.capacity) for s in sellers if s.capacity.get("windows")}
    gains: dict[str, list[Gain]] = {}
    for gain in tx.sellers.windows.gains(workspace, windows, now_us):
        gains.setdefault(gain.seller_id, []).append(gain)
    return {s.seller_id: window_uses(s.capacity, gains.get(s.seller_id, ()), now_us) for s in sellers}


def _capacity(
    seller: Seller, config: WorkspaceConfig, loads: Sequence[Load], uses: Sequence[seller_pb2.WindowUse], now_us: int
) -> seller_service_pb2.SellerCapacity:
    maximum, load = maximum_of(seller, config, now_us), counted_load(loads, config)
    return seller_service_pb2.SellerCapacity(
        seller_id=seller.seller_id, maximum=maximum, load=load, free=maximum - load, loads=load_messages(loads), windows=uses
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
