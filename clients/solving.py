"""Problems of the caller's own: sent in columns, answered with progress and a solution."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc

from reallot.clients.errors import Exhausted, from_rpc
from reallot.v1 import solver_service_pb2 as pb

if TYPE_CHECKING:
    from reallot.clients.client import AsyncClient

ROWS = 200_000
"""Rows of a column in one message."""
TRIES = 30
Columns = Mapping[str, Sequence[Any]]
_FAIRNESS = {"": pb.FAIRNESS_UNSPECIFIED, "even-load": pb.FAIRNESS_EVEN_LOAD, "maximin-value": pb.FAIRNESS_MAXIMIN_VALUE}
_SENSES = {"min": pb.SENSE_MINIMISE, "max": pb.SENSE_MAXIMISE}


class SolverCalls:
    """Problems of the caller's own."""

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    async def solve(
        self,
        *,
        pairs: Columns,
        records: Columns | None = None,
        sellers: Columns | None = None,
        sense: str = "min",
        time_limit: timedelta | None = None,
        seed: int = 0,
        fairness: str = "",
        price_steps: int = 0,
        on_progress: Callable[[pb.SolveProgress], None] | None = None,
    ) -> pb.Solution:
        """Solve a problem and return the solution; one without a plan says why.

        Args:
            pairs: Columns of ProblemPairs by name, e.g. `{"record": [0, 0], "seller": [0, 1], "value": [3, 5]}`; lists or arrays.
            records: Columns of ProblemRecords.
            sellers: Columns of ProblemSellers.
            sense: "min" or "max".
            time_limit: Wall time of the search; None = the server's.
            seed: Seed of every random choice.
            fairness: "" = only values count, "even-load" or "maximin-value"; the solution then says how fair it is.
            price_steps: In how many steps to say what fairness costs.
            on_progress: Hears of better plans and bounds on the way.

        Raises:
            InvalidArgument: the problem cannot be understood; names the column and the position.
            ReallotError: the call failed. A server that is busy is asked again for a while.
        """
        options = pb.SolveOptions(sense=_SENSES[sense], seed=seed, fairness=_FAIRNESS[fairness], price_steps=price_steps)
        if time_limit is not None:
            options.time_limit.FromTimedelta(time_limit)
        for attempt in range(TRIES):
            requests = _messages(pb.SolveRequest, self._client.workspace, options, records, sellers, pairs)
            try:
                async for answer in self._client.stubs.solver.Solve(requests):
                    if answer.WhichOneof("item") == "solution":
                        solution: pb.Solution = answer.solution
                        return solution
                    if on_progress is not None:
                        on_progress(answer.progress)
            except grpc.aio.AioRpcError as error:
                failure = from_rpc(error)
                if not isinstance(failure, Exhausted) or failure.retry_after_s is None or attempt == TRIES - 1:
                    raise failure from None
                await asyncio.sleep(failure.retry_after_s)
        raise RuntimeError("the server ended its answer before the solution")

    async def check_plan(
        self, chosen: Sequence[int], *, pairs: Columns, records: Columns | None = None, sellers: Columns | None = None, sense: str = "min"
    ) -> pb.CheckPlanResponse:
        """Return what a plan is worth and what it violates; `chosen` are positions of pairs, the rest is as in `solve`."""
        options = pb.SolveOptions(sense=_SENSES[sense])
        requests = _messages(pb.CheckPlanRequest, self._client.workspace, options, records, sellers, pairs, chosen)
        try:
            answer: pb.CheckPlanResponse = await self._client.stubs.solver.CheckPlan(requests)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from None
        return answer


async def _messages(
    kind: Any,
    workspace: str,
    options: pb.SolveOptions,
    records: Columns | None,
    sellers: Columns | None,
    pairs: Columns,
    chosen: Sequence[int] = (),
) -> AsyncIterator[Any]:
    """Yield the messages of a problem, each with some rows of every column."""
    yield kind(workspace=workspace, options=options)
    for part, columns in (("records", records or {}), ("sellers", sellers or {}), ("pairs", pairs)):
        for start in range(0, max((len(column) for column in columns.values()), default=0), ROWS):
            message = kind()
            for name, column in columns.items():
                getattr(getattr(message, part), name).extend(_listed(column[start : start + ROWS]))
            yield message
    for start in range(0, len(chosen), ROWS):
        yield kind(chosen=_listed(chosen[start : start + ROWS]))


def _listed(column: Any) -> Any:
    """Return a column that is an array as a list, which is quicker to send."""
    return column.tolist() if hasattr(column, "tolist") else column
