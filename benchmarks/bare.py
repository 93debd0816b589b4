"""The floor of a stream: a server of the same gRPC library that does nothing but send the same bytes to everybody.

Run as a process of its own: `python -m benchmarks.bare`. Whoever calls `/bare/Follow` is greeted with an empty message. At each call of
`/bare/Send`, whose JSON names the size of a message and how many there are to be, every follower is sent as many.
"""

import asyncio
import json
from typing import Any

import grpc
import uvloop

FOLLOW, SEND = "/bare/Follow", "/bare/Send"


class _Bare(grpc.GenericRpcHandler):
    def __init__(self) -> None:
        self._message, self._count = b"", 0
        self._told = asyncio.Event()

    def service(self, details: Any) -> Any:
        if details.method == FOLLOW:
            return grpc.unary_stream_rpc_method_handler(self._follow)
        return grpc.unary_unary_rpc_method_handler(self._send) if details.method == SEND else None

    async def _follow(self, request: bytes, context: Any) -> None:
        told = self._told
        await context.write(b"")
        while True:
            await told.wait()
            told, message = self._told, self._message
            for _ in range(self._count):
                await context.write(message)

    async def _send(self, request: bytes, context: Any) -> bytes:
        asked = json.loads(request)
        self._message, self._count = b"x" * asked["bytes"], asked["count"]
        told, self._told = self._told, asyncio.Event()
        told.set()
        return b""


async def _serve() -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_Bare(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(_serve())
