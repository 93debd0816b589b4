"""The crontab line, timer and manifest of the page on the command line are what their readers expect, and their command exists."""

import configparser
import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from cronsim import CronSim
from typer.main import get_command

from reallot.clients.commands.passes import exit_code
from reallot.clients.commands.running import rerun
from reallot.v1 import run_pb2

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def manifest() -> dict[str, Any]:
    (text,) = blocks("yaml")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def commands() -> dict[str, list[str]]:
    """Return the arguments of `reallot` in each of them."""
    crontab = next(line for text in blocks("") for line in text.splitlines() if "reallot rerun" in line)
    service = next(text for text in blocks("ini") if "[Service]" in text)
    shell = shlex.split(next(line for line in service.splitlines() if line.startswith("ExecStart=")).removeprefix("ExecStart="))[-1]
    container = manifest()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    return {"crontab": shlex.split(crontab)[5:], "systemd": shlex.split(shell)[1:], "CronJob": container["command"]}


@pytest.mark.parametrize("name", ["crontab", "systemd", "CronJob"])
def test_its_command_is_understood_and_safe_to_repeat(name: str) -> None:
    program, command, *arguments = commands()[name]
    assert (program, command) == ("reallot", "rerun")
    application = typer.Typer()
    application.command()(rerun)
    with get_command(application).make_context("rerun", arguments) as context:
        assert context.params["request_id"]
        assert context.params["wait"]
        assert context.params["max_duration"] == 600


def test_the_timer_makes_up_for_what_was_missed() -> None:
    timer = configparser.ConfigParser(interpolation=None)
    timer.read_string(next(text for text in blocks("ini") if "[Timer]" in text))
    assert timer["Timer"]["OnCalendar"] == "Mon..Fri 06:00 Europe/Berlin"
    assert timer.getboolean("Timer", "Persistent")


def test_the_job_has_a_schedule_and_never_runs_beside_itself() -> None:
    spec = manifest()["spec"]
    assert spec["schedule"] == "0 6 * * 1-5"
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def tool(name: str, *arguments: str) -> str:
    """What a tool says that reads what the page shows."""
    if shutil.which(name) is None:
        pytest.skip(f"there is no {name} here")
    told = subprocess.run([name, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout + told.stderr


def test_systemd_takes_timer_and_service(tmp_path: Path) -> None:
    timer, service = blocks("ini")
    (tmp_path / "reallot-rerun.timer").write_text(timer)
    (tmp_path / "reallot-rerun.service").write_text(service)
    told = tool("systemd-analyze", "verify", "--man=no", str(tmp_path / "reallot-rerun.timer"), str(tmp_path / "reallot-rerun.service"))
    assert [line for line in told.splitlines() if "reallot-rerun" in line] == []
    calendar = re.findall(r"^OnCalendar=(.*)$", timer, re.MULTILINE)
    assert "Mon..Fri *-*-* 06:00:00 Europe/Berlin" in tool("systemd-analyze", "calendar", *calendar)


def test_kubernetes_takes_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "cronjob.yaml").write_text(blocks("yaml")[0])
    # Without a cluster: the client reads the manifest as the kind that it says it is.
    read = yaml.safe_load(tool("kubectl", "set", "image", "--local", "-f", str(tmp_path / "cronjob.yaml"), "rerun=other", "-o", "yaml"))
    wanted = manifest()
    container = wanted["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    container["image"] = "other"
    spec = read["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert {name: spec["containers"][0][name] for name in container} | {"env": container["env"]} == container
    assert {name: read["spec"][name] for name in ("schedule", "timeZone", "concurrencyPolicy")} == {
        name: wanted["spec"][name] for name in ("schedule", "timeZone", "concurrencyPolicy")
    }


def test_cron_takes_both_lines_at_the_same_hour_of_working_days() -> None:
    lines = [manifest()["spec"]["schedule"], " ".join(blocks("")[0].split()[:5])]
    monday = datetime(2026, 3, 6, 7, tzinfo=UTC)
    assert [next(CronSim(line, monday)) for line in lines] == [datetime(2026, 3, 9, 6, tzinfo=UTC)] * 2
    # A percent sign ends the command of a crontab unless it is escaped.
    assert re.findall(r"(?<!\\)%", blocks("")[0]) == []


@pytest.mark.parametrize(
    ("state", "code"),
    [("SUCCEEDED", 0), ("FAILED", 1), ("PENDING", 8), ("RUNNING", 8), ("CANCELLED", 9), ("PREVIEWED", 10)],
)
def test_every_outcome_has_its_exit_code_and_the_page_says_so(state: str, code: int) -> None:
    assert exit_code(run_pb2.Run(state=run_pb2.RunState.Value(f"RUN_STATE_{state}"))) == code
    assert re.search(rf"^\| {code} \| ", PAGE, re.MULTILINE)
