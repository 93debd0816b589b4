"""AssignmentService: runs over many records, and decisions by hand through the same checks."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import grpc

from reallot.server.answers.desk import Question, QuestionDesk
from reallot.server.claiming import claim_next, extend, lease_of
from reallot.server.configuration import selection_faults
from reallot.server.convert.offers import offer_message
from reallot.server.convert.runs import run_message
from reallot.server.convert.values import to_owner
from reallot.server.errors import Violation, failed_precondition, invalid_field
from reallot.server.explanation import candidates_of
from reallot.server.handover import Parties, by_hand, involved, owning_seller
from reallot.server.idempotency import once
from reallot.server.lanes import ENDED, new_run_id, selection_text
from reallot.server.languages import LANGUAGE, Catalogue, say, speech_of
from reallot.server.offers import respond
from reallot.server.previewing import PREVIEW
from reallot.server.progress import ProgressBoard
from reallot.server.road.change import freed_sellers
from reallot.server.road.commit import limits_of
from reallot.server.runtime import Runtime, request_rerun
from reallot.server.services.previews import apply_run, drop_run, list_preview
from reallot.server.tokens import page_token, read_page_token
from reallot.server.undoing import undo_run
from reallot.server.validation import LONGEST_TEXT, check_id, check_rows, page_size_of, refuse, workspace_of
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.entities import Claim, Outcome, Owner, Record, Run, Seller, open_offer
from reallot.v1 import assignment_service_pb2 as pb
from reallot.v1 import assignment_service_pb2_grpc, event_pb2, run_pb2

Context = grpc.aio.ServicerContext[Any, Any]
WATCH_POLL_S = 1.0
_SHOWN_KINDS = ("SCHEDULED", "MANUAL", "EVENT", "WHAT_IF")


class AssignmentService(assignment_service_pb2_grpc.AssignmentServiceServicer):
    """Decides who works what."""

    def __init__(self, runtime: Runtime, board: ProgressBoard, desk: QuestionDesk) -> None:
        self._runtime = runtime
        self._board = board
        self._desk = desk

    async def StartRun(self, request: pb.StartRunRequest, context: Context) -> run_pb2.Run:  # noqa: N802
        """Start a run and return at once."""
        workspace = workspace_of(request)
        if request.limit < 0:
            raise invalid_field("limit", "it cannot be negative")
        if request.HasField("time_limit") and request.time_limit.ToMicroseconds() <= 0:
            raise invalid_field("time_limit", "it is positive")

        def work(tx: WriteTransaction) -> run_pb2.Run:
            config = self._runtime.configs.of(tx, workspace)
            faults = [Violation(f"selection.{p}", t, r) for p, t, r in selection_faults(config, request.selection)]
            refuse([*faults, *_unknown_sellers(tx, workspace, request.selection.seller_ids)])
            run = Run(
                new_run_id(),
                "MANUAL",
                "PENDING",
                {"kind": "RUN", "detail": request.cause, "resegment": request.selection.resegment},
                selection_text(request.selection),
                create_us=tx.now_us,
                limit=request.limit,
                seed=request.seed,
                time_limit_us=request.time_limit.ToMicroseconds(),
                body={"mode": PREVIEW} if request.preview else None,
            )
            tx.runs.create(workspace, run)
            tx.signal(workspace, "runs")
            return run_message(run, self._runtime.speech(tx, workspace))

        return await self._runtime.write(workspace, once(request, workspace, run_pb2.Run, work))

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> run_pb2.Run:  # noqa: N802
        """Return one run."""
        workspace = workspace_of(request)
        run, speech = await self._runtime.read(lambda tx: self._run(tx, workspace, request.run_id))
        return run_message(run, speech)

    def _run(self, tx: ReadTransaction, workspace: str, run_id: str) -> tuple[Run, Catalogue]:
        return tx.runs.get(workspace, run_id), self._runtime.speech(tx, workspace)

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:  # noqa: N802
        """List runs, newest first."""
        workspace, size, key = workspace_of(request), page_size_of(request), read_page_token(request)
        kinds = [run_pb2.RunKind.Name(kind).removeprefix("RUN_KIND_") for kind in request.kinds] or list(_SHOWN_KINDS)

        def read(tx: ReadTransaction) -> pb.ListRunsResponse:
            before = (key[0], key[1]) if key else None
            found = tx.runs.page(workspace, kinds=kinds, schedule_id=request.schedule_id, before=before, limit=size + 1)
            token = page_token(request, [found[size - 1].create_us, found[size - 1].run_id]) if len(found) > size else ""
            speech = self._runtime.speech(tx, workspace)
            return pb.ListRunsResponse(runs=[run_message(r, speech) for r in found[:size]], next_page_token=token)

        return await self._runtime.read(read)

    async def WatchRun(self, request: pb.WatchRunRequest, context: Context) -> AsyncIterator[pb.WatchRunResponse]:  # noqa: N802
        """Follow a run until it has ended."""
        workspace = workspace_of(request)
        while True:
            run, speech = await self._runtime.read(lambda tx: self._run(tx, workspace, request.run_id))
            progress = self._board.of(run.run_id)
            message = run_message(run, speech)
            if progress.stage and run.state == "RUNNING":
                message.stage = run_pb2.RunStage.Value(f"RUN_STAGE_{progress.stage.upper()}")
            done = sum(n for k, n in run.counts.items() if k == "considered") if run.state in ENDED else progress.done
            yield pb.WatchRunResponse(run=message, done=done, total=done if run.state in ENDED else progress.total)
            if run.state in (*ENDED, "PREVIEWED"):
                return
            await self._board.changed(WATCH_POLL_S)

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> run_pb2.Run:  # noqa: N802
        """Ask a run to stop."""
        workspace = workspace_of(request)

        def work(tx: WriteTransaction) -> run_pb2.Run:
            run = tx.runs.get(workspace, request.run_id)
            if run.state in (*ENDED, "PREVIEWED"):
                text = f"run {run.run_id} has ended: {run.state}"
                raise failed_precondition("RUN_NOT_CANCELLABLE", text, run=run.run_id, state=run.state)
            tx.runs.request_cancel(workspace, run.run_id)
            if run.state == "PENDING":
                # It has not begun, and in a paused workspace nobody would look at it for long.
                tx.runs.update(workspace, replace(run, state="CANCELLED", stage="done", end_us=tx.now_us))
            tx.signal(workspace, "runs")
            return run_message(*self._run(tx, workspace, run.run_id))

        return await self._runtime.write(workspace, once(request, workspace, run_pb2.Run, work))

    async def ApplyRun(self, request: pb.ApplyRunRequest, context: Context) -> run_pb2.Run:  # noqa: N802
        """Commit a previewed run."""
        workspace = workspace_of(request)
        work = once(
            request, workspace, run_pb2.Run, lambda tx: apply_run(tx, workspace, request.run_id, self._runtime.speech(tx, workspace))
        )
        return await self._runtime.write(workspace, work)

    async def DropRun(self, request: pb.DropRunRequest, context: Context) -> run_pb2.Run:  # noqa: N802
        """Drop a previewed run."""
        workspace = workspace_of(request)
        work = once(
            request, workspace, run_pb2.Run, lambda tx: drop_run(tx, workspace, request.run_id, self._runtime.speech(tx, workspace))
        )
        return await self._runtime.write(workspace, work)

    async def ListPreview(self, request: pb.ListPreviewRequest, context: Context) -> pb.ListPreviewResponse:  # noqa: N802
        """List what a previewed run would do."""
        workspace = workspace_of(request)
        return await self._runtime.read(lambda tx: list_preview(tx, workspace, request, self._runtime.speech(tx, workspace)))

    async def ReplayRun(self, request: pb.ReplayRunRequest, context: Context) -> pb.ReplayRunResponse:  # noqa: N802
        """Repeat a stored run's solve."""
        question = Question("replay", workspace_of(request), self._runtime.clock.now_us(), request.SerializeToString(), LANGUAGE.get())
        return pb.ReplayRunResponse.FromString(await self._desk.ask(question))

    async def UndoRun(self, request: pb.UndoRunRequest, context: Context) -> pb.UndoRunResponse:  # noqa: N802
        """Take back what a run did."""
        return await undo_run(self._runtime, workspace_of(request), request)

    async def AssignRecords(self, request: pb.AssignRecordsRequest, context: Context) -> pb.AssignRecordsResponse:  # noqa: N802
        """Give records to an owner by hand."""
        workspace, owner = workspace_of(request), to_owner(request.owner)
        refuse(check_rows("record_ids", request.record_ids))
        if owner is None:
            raise invalid_field("owner", "an owner is needed (release records with ReleaseRecords)")
        refuse(check_id("owner", owner.id))

        def work(tx: WriteTransaction) -> pb.AssignRecordsResponse:
            return self._assign(tx, self._runtime.configs.of(tx, workspace), owner, request)

        return await self._runtime.write(workspace, once(request, workspace, pb.AssignRecordsResponse, work))

    def _assign(
        self, tx: WriteTransaction, config: WorkspaceConfig, owner: Owner, request: pb.AssignRecordsRequest
    ) -> pb.AssignRecordsResponse:
        seller = owning_seller(tx, config, owner)
        found = tx.records.get(config.workspace, request.record_ids)
        wanted = list(dict.fromkeys(request.record_ids))
        takes = [found[i] for i in wanted if i in found and found[i].active and found[i].owner != owner]
        obstacle, speech = None if request.force or seller is None else _obstacle(seller), speech_of(config)
        if obstacle is not None:
            refused = {record.record_id for record in takes}
            return pb.AssignRecordsResponse(
                results=[
                    _kept_out(i, obstacle, speech) if i in refused else _result(i, found.get(i), None, speech) for i in request.record_ids
                ]
            )
        claim = Claim(limits_of(seller, config, tx.now_us)) if seller is not None and not request.force else None
        parties = Parties.of(tx, config.workspace, owner, *involved(takes))
        made = [by_hand(config, record, owner, request.reason, claim, now_us=tx.now_us, parties=parties) for record in takes]
        outcomes = tx.commit_records(config.workspace, made)
        done = ((t.before, t.after) for t, o in zip(made, outcomes, strict=True) if o is Outcome.COMMITTED)
        request_rerun(tx, config, "CAPACITY_FREED", freed_sellers(done))
        became = {t.after.record_id: o for t, o in zip(made, outcomes, strict=True) if t.after}
        return pb.AssignRecordsResponse(results=[_result(i, found.get(i), became.get(i), speech) for i in request.record_ids])

    async def ReleaseRecords(self, request: pb.ReleaseRecordsRequest, context: Context) -> pb.ReleaseRecordsResponse:  # noqa: N802
        """Take records from their owners; they wait for a run."""
        workspace = workspace_of(request)
        refuse(check_rows("record_ids", request.record_ids))

        def work(tx: WriteTransaction) -> pb.ReleaseRecordsResponse:
            config = self._runtime.configs.of(tx, workspace)
            found = tx.records.get(workspace, request.record_ids)
            parties = Parties.of(tx, workspace, *involved(found.values()))
            made = [
                by_hand(config, record, None, request.reason, None, now_us=tx.now_us, parties=parties)
                for _, record in sorted(found.items())
                if record.owner is not None or open_offer(record)
            ]
            tx.commit_records(workspace, made)
            request_rerun(tx, config, "CAPACITY_FREED", freed_sellers((t.before, t.after) for t in made))
            unknown = [i for i in dict.fromkeys(request.record_ids) if i not in found]
            return pb.ReleaseRecordsResponse(released=len(made), unknown_record_ids=unknown)

        return await self._runtime.write(workspace, once(request, workspace, pb.ReleaseRecordsResponse, work))

    async def ListEligibleSellers(  # noqa: N802
        self, request: pb.ListEligibleSellersRequest, context: Context
    ) -> pb.ListEligibleSellersResponse:
        """List who could take a record."""
        workspace, size, after = workspace_of(request), page_size_of(request), read_page_token(request) or 0

        def read(tx: ReadTransaction) -> pb.ListEligibleSellersResponse:
            config = self._runtime.configs.of(tx, workspace)
            found = candidates_of(tx, config, request.record_id, self._runtime.clock.now_us(), others=request.include_others)
            token = page_token(request, after + size) if len(found) > after + size else ""
            return pb.ListEligibleSellersResponse(candidates=found[after : after + size], next_page_token=token)

        return await self._runtime.read(read)

    async def ListOffers(self, request: pb.ListOffersRequest, context: Context) -> pb.ListOffersResponse:  # noqa: N802
        """List open offers, by record."""
        workspace, size, after = workspace_of(request), page_size_of(request), read_page_token(request) or ""

        def read(tx: ReadTransaction) -> pb.ListOffersResponse:
            config = self._runtime.configs.of(tx, workspace)
            sellers = [request.seller_id] if request.seller_id else None
            found = tx.offers.open(workspace, record_id=request.record_id, seller_ids=sellers, after=after, limit=size + 1)
            records = tx.records.get(workspace, [offer.record_id for offer in found])
            token = page_token(request, found[size - 1].record_id) if len(found) > size else ""
            messages = [offer_message(offer, records[offer.record_id], config) for offer in found[:size]]
            return pb.ListOffersResponse(offers=messages, next_page_token=token)

        return await self._runtime.read(read)

    async def RespondToOffer(self, request: pb.RespondToOfferRequest, context: Context) -> pb.RespondToOfferResponse:  # noqa: N802
        """Accept or decline an offer."""
        workspace = workspace_of(request)
        refuse([*check_id("record_id", request.record_id), *check_id("seller_id", request.seller_id)])
        if len(request.reason) > LONGEST_TEXT:
            raise invalid_field("reason", f"a reason has at most {LONGEST_TEXT} characters")

        def work(tx: WriteTransaction) -> pb.RespondToOfferResponse:
            config = self._runtime.configs.of(tx, workspace)
            respond(tx, config, request.record_id, request.seller_id, accept=request.accept, reason=request.reason)
            return pb.RespondToOfferResponse()

        return await self._runtime.write(workspace, once(request, workspace, pb.RespondToOfferResponse, work))

    async def ClaimNext(self, request: pb.ClaimNextRequest, context: Context) -> pb.ClaimNextResponse:  # noqa: N802
        """Give a seller the next record of a pool."""
        return await claim_next(self._runtime, workspace_of(request), request)

    async def ExtendClaim(self, request: pb.ExtendClaimRequest, context: Context) -> pb.OpenOffer:  # noqa: N802
        """Hold a claimed record for longer."""
        workspace, lease_us = workspace_of(request), lease_of(request)
        refuse([*check_id("record_id", request.record_id), *check_id("seller_id", request.seller_id)])

        def work(tx: WriteTransaction) -> pb.OpenOffer:
            return extend(tx, self._runtime.configs.of(tx, workspace), request.record_id, request.seller_id, lease_us)

        return await self._runtime.write(workspace, once(request, workspace, pb.OpenOffer, work))


_OBSTACLES: dict[int, str] = {
    event_pb2.VERDICT_ROLE_NOT_ELIGIBLE: say("owner_may_not_own"),
    event_pb2.VERDICT_SWITCHED_OFF: say("owner_takes_none"),
}


def _obstacle(seller: Seller) -> event_pb2.Verdict.ValueType | None:
    """Return what keeps a seller from taking any record, as it would keep a rule from choosing them; None if nothing does."""
    if not seller.roles_ok:
        return event_pb2.VERDICT_ROLE_NOT_ELIGIBLE
    return None if seller.assignable else event_pb2.VERDICT_SWITCHED_OFF


def _kept_out(record_id: str, verdict: event_pb2.Verdict.ValueType, speech: Catalogue) -> pb.AssignResult:
    return pb.AssignResult(
        record_id=record_id, outcome=pb.MANUAL_OUTCOME_NOT_ELIGIBLE, text=speech.text(_OBSTACLES[verdict]), verdict=verdict
    )


def _unknown_sellers(tx: ReadTransaction, workspace: str, seller_ids: Sequence[str]) -> Iterator[Violation]:
    known = tx.sellers.get(workspace, seller_ids)
    for index, name in enumerate(seller_ids):
        if name not in known:
            yield Violation(f"selection.seller_ids[{index}]", f"seller {name!r} does not exist", "UNKNOWN_REFERENCE")


def _result(record_id: str, record: Record | None, outcome: Outcome | None, speech: Catalogue) -> pb.AssignResult:
    if outcome is Outcome.COMMITTED:
        return pb.AssignResult(record_id=record_id, assigned=True)
    if outcome is Outcome.CAPACITY_LOST:
        text = speech.text(say("owner_full"))
        verdict = event_pb2.VERDICT_NO_CAPACITY
        return pb.AssignResult(record_id=record_id, outcome=pb.MANUAL_OUTCOME_NO_CAPACITY, text=text, verdict=verdict)
    if record is None:
        return pb.AssignResult(record_id=record_id, outcome=pb.MANUAL_OUTCOME_NOT_FOUND, text=speech.text(say("record_unknown")))
    if not record.active:
        return pb.AssignResult(record_id=record_id, outcome=pb.MANUAL_OUTCOME_NOT_ACTIVE, text=speech.text(say("record_not_active")))
    return pb.AssignResult(record_id=record_id, outcome=pb.MANUAL_OUTCOME_UNCHANGED, text=speech.text(say("owner_has_it")))
