"""A short look for messages that the server does not take well; `make fuzz` looks for longer."""

from pathlib import Path

from google.protobuf.descriptor import MethodDescriptor

from fuzz.target import COSTLY, METHODS, Target, contents, target

EACH = 6
"""Messages for each call."""
FOUND = (
    ("/reallot.v1.RecordService/GetRecord", "ff"),
    # A kind of events that does not exist.
    ("/reallot.v1.EventService/ListEvents", "12020863"),
    ("/reallot.v1.EventService/Watch", "12020863"),
)
"""Messages that once made the server fail: method, and the bytes in hexadecimal digits."""


async def fire(server: Target, path: str, method: MethodDescriptor) -> None:
    good = server.good
    for seed in range(EACH):
        await server.send(path, contents(method, seed, good))


async def test_no_message_makes_the_server_fail(tmp_path: Path) -> None:
    async with target(tmp_path) as server:
        for path, content in FOUND:
            await server.send(path, bytes.fromhex(content))
        for path, method in METHODS.items():
            if path not in COSTLY:
                await fire(server, path, method)
        await server.is_well()
