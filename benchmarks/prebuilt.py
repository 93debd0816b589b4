"""The floor of a unary call: a server on the same loop and library whose handlers do nothing but give out bytes made before.

Run as a process of its own: `python -m benchmarks.prebuilt METHOD=SIZE …`; it tells where it listens as the real one does.
"""

import sys
from typing import Any

import grpc
import uvloop

from benchmarks.servers import ServerProcess


class PrebuiltServer(ServerProcess):
    """Such a server in a process of its own; answers each method with as many bytes as are named."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self._command = [sys.executable, "-m", "benchmarks.prebuilt", *(f"{method}={size}" for method, size in sizes.items())]
        self.address = ""


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, answers: dict[str, bytes]) -> None:
        self._handlers = {method: grpc.unary_unary_rpc_method_handler(_giving(answer)) for method, answer in answers.items()}

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a method."""
        return self._handlers.get(details.method)


def _giving(answer: bytes) -> Any:
    async def give(_request: bytes, _context: Any) -> bytes:
        return answer

    return give


async def _serve(answers: dict[str, bytes]) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_Handlers(answers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


def main() -> None:
    """Serve until ended."""
    given = dict(argument.split("=") for argument in sys.argv[1:])
    uvloop.run(_serve({method: bytes(int(size)) for method, size in given.items()}))


if __name__ == "__main__":
    main()
