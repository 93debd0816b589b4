"""SolverService: problems of the caller's own. Nothing is stored."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from reallot.server.errors import ApiError, invalid_field
from reallot.server.settings import Settings
from reallot.server.solving import Job, Kind, SolvingDesk
from reallot.v1 import solver_service_pb2 as pb
from reallot.v1 import solver_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
Request = pb.SolveRequest | pb.CheckPlanRequest


MOST_PRICE_STEPS = 20


class SolverService(solver_service_pb2_grpc.SolverServiceServicer):
    """Hands problems to processes of their own."""

    def __init__(self, settings: Settings, desk: SolvingDesk) -> None:
        self._settings = settings
        self._desk = desk

    async def Solve(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.SolveRequest], context: Context
    ) -> AsyncIterator[pb.SolveResponse]:
        """Solve a problem that is handed in."""
        job, parts = await self._begun("solve", request_iterator)
        async with aclosing(self._desk.answers(job, parts)) as answers:  # type: ignore[type-var]
            async for said, content in answers:
                if said == "progress":
                    yield pb.SolveResponse(progress=pb.SolveProgress.FromString(content))
                else:
                    yield pb.SolveResponse(solution=pb.Solution.FromString(content))

    async def CheckPlan(self, request_iterator: AsyncIterator[pb.CheckPlanRequest], context: Context) -> pb.CheckPlanResponse:  # noqa: N802
        """Score a given plan."""
        job, parts = await self._begun("check", request_iterator)
        async with aclosing(self._desk.answers(job, parts)) as answers:  # type: ignore[type-var]
            async for _, content in answers:
                return pb.CheckPlanResponse.FromString(content)
        raise RuntimeError("the process ended its answer before the verdict")

    async def _begun(self, kind: Kind, requests: AsyncIterator[Any]) -> tuple[Job, AsyncIterator[bytes]]:
        """Read the first message, and return the job and all messages as bytes."""
        first: Request | None = await anext(aiter(requests), None)
        if first is None:
            raise invalid_field("records", "a problem has at least one message")
        most_s = self._settings.solve_time_limit_s
        limit_s = most_s
        if first.options.HasField("time_limit"):
            limit_s = first.options.time_limit.ToTimedelta().total_seconds()
            if limit_s <= 0:
                raise invalid_field("options.time_limit", "must be above 0")
        options = first.options
        if options.fairness not in pb.Fairness.values():
            raise invalid_field("options.fairness", f"there is no fairness {options.fairness}")
        if not 0 <= options.price_steps <= MOST_PRICE_STEPS:
            raise invalid_field("options.price_steps", f"must be 0 to {MOST_PRICE_STEPS}")
        if options.price_steps and not options.fairness:
            raise invalid_field("options.price_steps", "without fairness there is no price of it")
        return Job(kind, min(limit_s, most_s), options.seed, options.fairness, options.price_steps), self._bounded(first, requests)

    async def _bounded(self, first: Request, others: AsyncIterator[Any]) -> AsyncIterator[bytes]:
        """Yield messages as bytes, as long as there are not too many rows."""
        rows = 0
        request: Request | None = first
        while request is not None:
            rows += sum(_rows(part) for part in (request.records, request.sellers, request.pairs))
            if rows > self._settings.most_problem_rows:
                raise ApiError(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    "PROBLEM_TOO_LARGE",
                    f"a problem may have {self._settings.most_problem_rows} records, sellers and pairs together",
                    metadata={"limit": "most_problem_rows"},
                )
            yield request.SerializeToString()
            request = await anext(aiter(others), None)


def _rows(part: Any) -> int:
    return max(len(getattr(part, field.name)) for field in part.DESCRIPTOR.fields)
