"""ClockService of reallot.testing.v1: moves a manual clock. Served only by a server that has one."""

from typing import Any

import grpc

from reallot.server.clock import ManualClock
from reallot.server.convert.values import from_us, to_us
from reallot.server.errors import failed_precondition, invalid_field
from reallot.testing.v1 import clock_service_pb2 as pb
from reallot.testing.v1 import clock_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class ClockService(clock_service_pb2_grpc.ClockServiceServicer):
    """Moves the server's time."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    async def Get(self, request: pb.GetRequest, context: Context) -> pb.ClockState:  # noqa: N802
        """Return the server's time."""
        return pb.ClockState(time=from_us(self._clock.now_us()))

    async def Set(self, request: pb.SetRequest, context: Context) -> pb.ClockState:  # noqa: N802
        """Jump to an instant."""
        if not request.HasField("time"):
            raise invalid_field("time", "an instant is needed")
        await self._clock.set(to_us(request.time))
        return pb.ClockState(time=from_us(self._clock.now_us()))

    async def Advance(self, request: pb.AdvanceRequest, context: Context) -> pb.ClockState:  # noqa: N802
        """Live through time up to an instant."""
        match request.WhichOneof("target"):
            case "duration":
                target = self._clock.now_us() + request.duration.ToMicroseconds()
            case "time":
                target = to_us(request.time)
            case _:
                raise invalid_field("target", "a duration or an instant is needed")
        try:
            await self._clock.advance_to(target)
        except ValueError as error:
            raise failed_precondition("CLOCK_BACKWARDS", str(error)) from None
        return pb.ClockState(time=from_us(self._clock.now_us()))
