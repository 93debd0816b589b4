"""A short look for messages that the server does not take well; `make fuzz` looks for longer."""

import re
from pathlib import Path

from fuzz.target import COSTLY, METHODS, contents, good_messages, target

EACH = 6
"""Messages for each call."""
EMPTY_IN_A_DAY = frozenset(
    {"/reallot.v1.WorkspaceService/ExportWorkspace", "/reallot.v1.InsightService/GetStatus", "/reallot.v1.ConfigService/Export"}
)
"""Calls that are about the default workspace, and say nothing else."""
FOUND = (
    ("/reallot.v1.RecordService/GetRecord", "ff"),
    # A kind of events that does not exist.
    ("/reallot.v1.EventService/ListEvents", "12020863"),
    ("/reallot.v1.EventService/Watch", "12020863"),
)
"""Messages that once made the server fail: method, and the bytes in hexadecimal digits."""


def test_every_call_of_the_contract_is_fired_at_with_what_it_is_sent_in_a_day() -> None:
    files = (Path(__file__).parents[2] / "proto" / "reallot" / "v1").glob("*.proto")
    declared = {name for file in files for name in re.findall(r"^  rpc (\w+)\(", file.read_text(), re.MULTILINE)}
    assert {path.rpartition("/")[2] for path in METHODS} == declared
    assert len(METHODS) == len(declared)
    good = good_messages("run-1")
    assert {path for path, known in good.items() if not any(message.ByteSize() for message in known)} <= EMPTY_IN_A_DAY


async def test_no_message_makes_the_server_fail(tmp_path: Path) -> None:
    async with target(tmp_path) as server:
        for path, content in FOUND:
            await server.send(path, bytes.fromhex(content))
        sent = 0
        for path, method in METHODS.items():
            if path not in COSTLY:
                sent += await server.fire(path, [contents(method, seed, server.good) for seed in range(EACH)])
        assert sent > EACH * len(METHODS) / 2
        await server.is_well()
