"""The batch rerun client: what it prints and how it ends, also when the server goes away and comes back meanwhile."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from reallot.clients import Client, Record, Seller
from reallot.clients.bundle import parse_bundle
from reallot.v1 import record_pb2

from servers import COMMAND, Server, reallot, server

PATIENCE_S = 100


def settings(client: Client, **parts: Any) -> None:
    segment = {
        "segment_id": "leads",
        "record_type": "lead",
        "is_default": True,
        "on_arrival": "ON_ARRIVAL_WAIT",
        "rules": [{"rule_id": "all"}],
    }
    bundle = {"settings": {"rerun_on": {}, **parts}, "record_types": [{"record_type": "lead"}], "segments": [segment]}
    client.config.apply(parse_bundle(bundle)[0])


def office(process: Server, workspace: str, **parts: Any) -> Client:
    client = Client(process.address, workspace=workspace)
    settings(client, **parts)
    client.sellers.upsert([Seller("ana")])
    client.records.upsert(Record(f"r{n}", "lead") for n in range(4))
    while any(r.assignment.status != record_pb2.ASSIGNMENT_STATUS_WAITING for r in client.records.list()):
        pass
    return client


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_it_goes_on_watching_over_a_restart_of_the_server_and_is_safe_to_repeat(tmp_path: Path) -> None:
    command = ("rerun", "--request-id", "nightly", "--max-duration", str(PATIENCE_S), "--workspace", "w", "--address")
    with server(f"sqlite:///{tmp_path / 'rerun.sqlite'}") as process:
        with office(process, "w") as client:
            # In a paused workspace a run waits, for as long as the test needs.
            settings(client, paused=True)
        with subprocess.Popen([*COMMAND, *command, process.address], stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            first = json.loads(watching.stdout.readline())
            assert (first["stage"], first["total"]) == ("waiting", 0)
            process.kill()
            process.start()
            with Client(process.address, workspace="w") as client:
                settings(client)
            last = lines(watching.stdout.read())[-1]
            assert watching.wait(PATIENCE_S) == 0
        assert (last["run_id"], last["state"], last["counts"]["assigned"]) == (first["run_id"], "RUN_STATE_SUCCEEDED", "4")
        again = reallot(*command, process.address)
        assert (again.returncode, lines(again.stdout)[-1]["run_id"]) == (0, first["run_id"])


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with server(f"sqlite:///{tmp_path_factory.mktemp('rerun') / 'codes.sqlite'}") as made:
        yield made


def test_its_exit_codes_tell_outcomes_apart(process: Server) -> None:
    def rerun(workspace: str, *more: str) -> tuple[int, str]:
        ended = reallot("rerun", "--workspace", workspace, *more, address=process.address)
        return ended.returncode, lines(ended.stdout)[-1]["state"] if ended.stdout.startswith("{") else ended.stdout + ended.stderr

    with office(process, "large", approve_above_percent=50) as client:
        assert rerun("large") == (10, "RUN_STATE_PREVIEWED")
        assert not any(r.HasField("owner") for r in client.records.list())
        assert rerun("large", "--limit", "1") == (0, "RUN_STATE_SUCCEEDED")
        code, told = rerun("large", "--text")
        assert (code, "previewed" in told) == (10, True)
        assert rerun("large", "--seller", "nobody")[0] == 2
        settings(client, paused=True)
        assert rerun("large", "--request-id", "stuck", "--max-duration", "0.5") == (8, "RUN_STATE_PENDING")
        client.runs.cancel(client.runs.list()[0].run_id)
        assert rerun("large", "--request-id", "stuck") == (9, "RUN_STATE_CANCELLED")
    assert reallot("rerun", "--max-duration", "0.1", address="127.0.0.1:1").returncode == 3
