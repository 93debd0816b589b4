"""What an administrator does with schedules on the command line: sees when they fire before storing them, pauses them, runs one now."""

from pathlib import Path

from typer.testing import CliRunner

from reallot.clients import Seller
from reallot.clients.cli import application
from reallot.v1 import run_pb2

from world import Make, World, a_lead, a_rule, a_segment, lead_type, quiet_settings

SCHEDULES = """schedules:
- {schedule_id: night, cron: "30 2 * * *", time_zone: Europe/Berlin, selection: {record_type: lead}, limit: 1}
- schedule_id: days
  days_and_times: {days: [MONDAY, THURSDAY], times: [{hours: 6}, {hours: 14, minutes: 30}]}
"""


def fails(here: World, *words: str) -> str:
    ended = CliRunner().invoke(application("schedules"), ["schedules", *words, "--address", here.address])
    assert ended.exit_code == 2
    return ended.output


def test_firings_are_shown_before_a_schedule_is_stored_and_run_once_by_hand(world: Make, tmp_path: Path) -> None:
    here = world("2026-03-27T12:00")
    file = tmp_path / "schedules.yaml"
    file.write_text(SCHEDULES)
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[a_segment("leads", a_rule(), on_arrival="ON_ARRIVAL_WAIT")])
    shown = here.call("schedules", "preview", "-f", str(file), "--count", "3", "--zone", "America/New_York")
    told = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "2026-0" in line]
    # Half past two does not come on the day on which clocks go forward: it fires at the end of the gap, once.
    assert told[:3] == [
        ["Sat 2026-03-28 02:30 CET", "Fri 2026-03-27 21:30 EDT", "2026-03-28 01:30:00", ""],
        ["Sun 2026-03-29 03:00 CEST", "Sat 2026-03-28 21:00 EDT", "2026-03-29 01:00:00", "CET (UTC+01:00) to CEST (UTC+02:00)"],
        ["Mon 2026-03-30 02:30 CEST", "Sun 2026-03-29 20:30 EDT", "2026-03-30 00:30:00", ""],
    ]
    assert [row[0] for row in told[3:]] == ["Mon 2026-03-30 06:00 UTC", "Mon 2026-03-30 14:30 UTC", "Thu 2026-04-02 06:00 UTC"]
    assert "days: Mon, Thu 06:00, 14:30 UTC" in shown
    assert here.call("schedules", "list").count("night") == 0, "nothing is stored"
    here.call("apply", "--file", str(file), "--yes")
    (night,) = (row for row in here.told("schedules", "list") if row["schedule_id"] == "night")
    assert night["next_time"] == "2026-03-28T01:30:00Z"
    assert len(here.told("schedules", "preview", "night")[0]["firings"]) == 10
    here.call("schedules", "pause", "night")
    here.sellers(Seller("ana"))
    here.write(a_lead("a", "2026-03-01T00:00"), a_lead("b", "2026-03-02T00:00"), a_lead("c", "2026-03-03T00:00"))
    here.advance("2026-03-28T02:00")
    assert here.owners("a", "b", "c") == ["", "", ""], "it is paused"
    assert "1 assigned" in here.call("schedules", "run", "night", "--request-id", "once")
    here.call("schedules", "run", "night", "--request-id", "once")
    assert here.owners("a", "b", "c") == ["ana", "", ""], "with the limit of the schedule, and once"
    here.call("schedules", "resume", "night")
    here.advance("2026-03-29T01:00")
    assert (here.owners("a", "b", "c"), len(here.runs(run_pb2.RUN_KIND_SCHEDULED))) == (["ana", "ana", ""], 1)
    assert "succeeded: 1 of 1 assigned" in " ".join(here.call("schedules", "list").split())
    assert "is no time zone" in fails(here, "preview", "-f", str(file), "--zone", "Mars/Base")
    assert "holds no schedule 'other'" in fails(here, "preview", "other", "-f", str(file))
