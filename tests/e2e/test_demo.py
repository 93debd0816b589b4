"""The demonstrations tell what they promise, on generated and on real data."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from servers import reallot

DATA = Path(os.environ.get("REALLOT_DATA", "nowhere"))
needs_data = pytest.mark.skipif(
    not DATA.is_dir() and not os.environ.get("REALLOT_DATA_REQUIRED"), reason="the real data is not here: REALLOT_DATA names its folder"
)


def lines(*arguments: str) -> list[dict[str, Any]]:
    ended: subprocess.CompletedProcess[str] = reallot("demo", "--json", *arguments, timeout=110)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_the_story_is_told_to_its_end() -> None:
    acts = {act["act"]: act for act in lines()}
    assert sorted(acts) == [1, 2, 3, 4, 5, 6, 7]
    assert acts[2]["records"] == 2_000
    assert acts[2]["assigned"] + acts[3]["waiting"] == 2_000
    assert acts[5]["assigned"] > 0
    assert acts[6]["segment"] == ["dach", "enterprise"]
    assert acts[6]["notified"] == acts[6]["owner"]
    assert acts[7]["over_capacity"] == []


def test_the_same_seed_tells_the_same_story() -> None:
    assert [act for act in lines("--seed", "2") if act["act"] < 6] == [act for act in lines("--seed", "2") if act["act"] < 6]


@needs_data
def test_adventureworks_moves_what_must_move() -> None:
    days = lines("--data", "adventureworks")
    first, second = days[0], days[1]
    assert (first["date"], first["active_sellers"], first["assigned"], first["unassigned"]) == ("2011-05-31", 9, 541, 160)
    assert (second["date"], second["assigned"], second["unassigned"], second["moved"]) == ("2012-05-30", 621, 80, 57)
    assert {k: first["loads"][k] for k in ("Southwest", "Canada", "Northwest")} == {
        "Southwest": [66, 65],
        "Canada": [57, 57],
        "Northwest": [46, 46],
    }
    assert days[-1]["unassigned"] == 0


@needs_data
def test_incidents_fire_what_changes() -> None:
    (told,) = lines("--data", "uci")
    assert (told["creates"], told["updates"], told["records_fired"], told["nothing_fired"]) == (890, 5_108, 421, 1_561)
    counts = {name: told["fired"][name] for name in ("assignment_group", "assigned_to", "priority", "category")}
    assert counts == {"assignment_group": 874, "assigned_to": 440, "priority": 45, "category": 68}
    assert len(told["fired"]) == 14
    # Whatever falls together in a burst is one look: how much does is a matter of speed, but never more than has fired.
    assert 0 < told["rechecks"] <= 5_108 - 1_561


@needs_data
def test_opportunities_wait_with_a_reason_and_nobody_has_more_than_may_be() -> None:
    """The replay itself holds every day to that, and to the room that what is closed gives back at once."""
    days = lines("--data", "maven", "--days", "125")
    assert [day["date"] for day in (days[0], days[-1])] == ["2016-10-20", "2017-03-05"]
    assert (days[0]["opened"], days[0]["assigned"], days[0]["waiting"]) == (1, 1, 0)
    assert max(day["most_loaded"] for day in days) == 20
    full = [day for day in days if day["waiting"]]
    assert full
    assert all((day["free"], set(day["reasons"])) == (0, {"no_capacity"}) for day in full)
    assert (days[-1]["opened"], days[-1]["closed"], days[-1]["open"], days[-1]["waiting"]) == (29, 14, 1233, 533)


@pytest.mark.parametrize(("arguments", "code"), [(("--data", "mars"), 2), (("--data", "uci", "--folder", "/nowhere"), 2)])
def test_a_demonstration_that_cannot_be_given_is_refused(arguments: tuple[str, ...], code: int) -> None:
    assert reallot("demo", *arguments).returncode == code
