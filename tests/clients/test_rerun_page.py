"""The crontab line, timer and manifest of the page on the command line are what their readers expect, and their command exists."""

import configparser
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.main import get_command

from reallot.clients.commands.running import rerun

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
