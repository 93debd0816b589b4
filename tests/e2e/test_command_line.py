"""The command line against a real server, as an administrator would use it."""

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from servers import reallot, server

Run = Callable[..., str]
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "sales.yaml"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(f"sqlite:///{tmp_path_factory.mktemp('cli') / 'e2e.sqlite'}", "--clock", "manual:2026-03-05T09:00Z") as process:
        yield process.address


@pytest.fixture
def run(address: str) -> Run:
    def call(*arguments: str, code: int = 0) -> str:
        ended = reallot(*arguments, address=address)
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    return call


def test_the_first_hour(run: Run, tmp_path: Path) -> None:
    assert "created" in run("apply", "-f", str(EXAMPLE), "--dry-run")
    assert "segment_id: smb" not in run("export")
    run("apply", "-f", str(EXAMPLE), "--yes")
    assert "created" not in run("apply", "-f", str(EXAMPLE), "--dry-run")
    assert "segment_id: smb" in run("export")
    leads = tmp_path / "leads.csv"
    leads.write_text("record_id,country,revenue,Lead Source\na1,DE,2000000,web\na2,DE,100,Select\na3,FR,10,web\n")
    assert "3 created" in run(
        "import", "records", str(leads), "--type", "lead", "--map", "Lead Source=source", "--null", "Select", "--live"
    )
    run("clock", "advance", "1h")
    assert "ana" in run("records", "get", "a1")
    told = json.loads(run("records", "get", "a2", "--json"))
    assert "source" not in told["fields"] or told["fields"]["source"] == {}
    assert "no_seller_matched" in run("explain", "a3")
    assert "succeeded" in run("rerun", "--segment", "smb", "--text")
    assert "manual" in run("runs", "list")
    (row,) = csv.DictReader(io.StringIO(run("runs", "export")))
    assert (row["kind"], row["state"], row["assigned"], row["seconds"]) == ("manual", "succeeded", "0", "0.0")
    assert json.loads(run("runs", "export", "--format", "json", "--from", "2026-03-05"))["run_id"] == row["run_id"]
    assert run("runs", "export", "--format", "json", "--to", "2026-03-05") == ""
    assert "rolling windows" not in run("sellers", "show", "ana").lower()
    assert "Thu 2026-03-05" in run("sellers", "availability", "ana")


def test_a_report_comes_in_every_form(run: Run) -> None:
    run("apply", "-f", str(EXAMPLE), "--yes")
    assert "Load, by seller" in run("report")
    assert "seller,ana,maximum,50" in run("report", "--format", "csv").splitlines()
    assert '"sellers": [{"seller_id": "ana"' in run("report", "--format", "json")
    assert run("report", "--format", "html", "--from", "2026-03-01").startswith("<!doctype html>")
    assert "end_time" in run("report", "--from", "2026-03-02", "--to", "2026-03-01", code=2)


def test_working_time_is_set_and_shown_as_a_week(run: Run, tmp_path: Path) -> None:
    run("apply", "-f", str(EXAMPLE), "--yes")
    week = ("--hours", "Mon-Fri 08:00-12:00, Mon-Thu 13:00-17:00", "--zone", "Europe/Berlin", "--holidays", "DE-BY")
    assert "2 set" in run("sellers", "hours", "ana", "ben", *week)
    run("sellers", "off", "ana", "--from", "2026-04-08T10:00", "--to", "2026-04-08T11:00")
    run("sellers", "off", "ana", "ben", "--from", "2026-04-09", "--to", "2026-04-09")
    trip = tmp_path / "trip.ics"
    trip.write_text(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART:20260410T080000\r\n"
        "DTEND:20260410T090000\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    for _ in range(2):
        assert "1 absences of ana" in run("sellers", "import-calendar", "ana", str(trip), "--from", "2026-04-01")
    shown = run("sellers", "availability", "ana", "--from", "2026-04-05", "--days", "6")
    rows = [line.strip("│ ").split("│") for line in shown.splitlines() if "2026-04" in line and "│" in line]
    # Easter Monday is free.
    assert {day.strip(): works.strip() for day, works in rows} == {
        "Sun 2026-04-05": "-",
        "Mon 2026-04-06": "-",
        "Tue 2026-04-07": "08:00-12:00, 13:00-17:00",
        "Wed 2026-04-08": "08:00-10:00, 11:00-12:00, 13:00-17:00",
        "Thu 2026-04-09": "-",
        "Fri 2026-04-10": "09:00-12:00",
    }


def test_steps_are_done_from_the_command_line(run: Run, tmp_path: Path) -> None:
    outreach = tmp_path / "outreach.yaml"
    outreach.write_text(
        "record_types: [{record_type: visit}]\n"
        "sequences: [{sequence_id: tour, record_type: visit, steps: [{step_id: ring, call: {subject: hi}}, {step_id: mail, email: {}}]}]\n"
        "segments: [{segment_id: visits, record_type: visit, is_default: true, sequence_id: tour}]\n"
    )
    run("apply", "-f", str(outreach), "--yes")
    visits = tmp_path / "visits.csv"
    visits.write_text("record_id\nv1\nv2\n")
    run("import", "records", str(visits), "--type", "visit", "--live")
    run("clock", "advance", "1s")
    listed = [json.loads(line) for line in run("steps", "list", "--sequence", "tour", "--json").splitlines()]
    assert [(step["record_id"], step["step"], step["kind"]) for step in listed] == [("v1", 1, "call"), ("v2", 1, "call")]
    assert "call" in run("steps", "list", "--record", "v1")
    assert run("steps", "complete", "v1", "1", "--outcome", "reached") == "v1 is at step 2 of tour\n"
    assert run("steps", "skip", "v1", "2") == "v1 is in no sequence\n"
    assert json.loads(run("steps", "snooze", "v2", "1", "2h", "--json"))["step"] == 1
    assert "present one" in run("steps", "complete", "v2", "2", code=5)
    assert "no duration" in run("steps", "snooze", "v2", "1", "later", code=2)
    shown = run("sequences", "stats", "tour")
    assert "reached 1" in shown
    assert "1 running; ended: completed 1" in shown
    assert run("sequences", "disconnect", "v2") == "v2 is in no sequence\n"
    ends = [json.loads(line)["end_reason"] for line in run("sequences", "enrollments", "--sequence", "tour", "--json").splitlines()]
    assert sorted(ends) == ["COMPLETED", "DISCONNECTED"]


def test_bad_rows_are_named_by_line(run: Run, tmp_path: Path) -> None:
    run("apply", "-f", str(EXAMPLE), "--yes")
    leads = tmp_path / "leads.csv"
    leads.write_text("record_id,revenue\nok,1\nbad,lots\n")
    told = run("import", "records", str(leads), "--type", "lead", code=1)
    assert "line 3: revenue: 'lots' is no decimal" in told
    assert "1 created" in told


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("records", "get", "nowhere"), 4, "does not exist"),
        (("rerun", "--reason", "no_such"), 2, "is no status"),
        (("rerun", "--segment", "nowhere"), 2, "selection.segment_ids"),
        (("clock", "advance", "soon"), 2, "is no duration"),
        (("runs", "show", "nothing"), 4, "does not exist"),
        (("records", "list", "--address", "127.0.0.1:1"), 3, "error"),
    ],
)
def test_failures_have_an_exit_code_and_a_readable_line(run: Run, arguments: tuple[str, ...], code: int, text: str) -> None:
    assert text in run(*arguments, code=code)


def test_rerun_is_safe_to_repeat(run: Run) -> None:
    run("apply", "-f", str(EXAMPLE), "--yes")
    first = [json.loads(line) for line in run("rerun", "--request-id", "nightly", "--json").splitlines()]
    again = [json.loads(line) for line in run("rerun", "--request-id", "nightly", "--json").splitlines()]
    assert first[-1]["run_id"] == again[-1]["run_id"]


def test_a_resegmentation_is_previewed_applied_and_undone(run: Run, tmp_path: Path) -> None:
    here = ("--workspace", "moves")
    run("apply", "-f", str(EXAMPLE), "--yes", *here)
    leads = tmp_path / "leads.csv"
    leads.write_text("record_id,country,revenue\nb1,DE,500\nb2,DE,5\n")
    run("import", "records", str(leads), "--type", "lead", "--live", *here)
    run("clock", "advance", "1h")
    lower = tmp_path / "lower.yaml"
    lower.write_text(EXAMPLE.read_text().replace("record.revenue >= 1000000.0", "record.revenue >= 100.0"))
    run("apply", "-f", str(lower), "--yes", *here)
    assert '"segment_id": "smb"' in run("records", "get", "b1", "--json", *here)
    told = run("resegment", "--type", "lead", "--preview", *here)
    assert "smb → enterprise" in told
    assert "Sequences: 1 begin, 1 end." in told
    run_id = re.search(r"runs apply (\S+),", told)[1]  # type: ignore[index]
    assert "smb → enterprise" in run("runs", "preview", run_id, *here)
    assert "succeeded" in run("runs", "apply", run_id, *here)
    assert "no preview" in run("runs", "drop", run_id, *here, code=5)
    assert "1 records would be as before the run" in run("runs", "undo", run_id, "--dry-run", *here)
    assert json.loads(run("runs", "undo", run_id, "--json", *here)) == {"undone": "1"}
    assert "undone for 1 records" in run("runs", "show", run_id, *here)
    candidates = [json.loads(line) for line in run("records", "eligible", "b1", "--json", *here).splitlines()]
    assert {c["verdict"] for c in candidates} == {"VERDICT_ELIGIBLE"}
    assert "1 released\nnowhere: the record does not exist" in run("records", "release", "b1", "nowhere", *here, code=1)
    assert "its owner has changed since" in run("runs", "undo", run_id, "--yes", *here, code=1)


def test_a_configuration_is_compared_as_text_and_its_history_is_told(run: Run, tmp_path: Path) -> None:
    here = ("--workspace", "texts")
    assert "--- /dev/null\n+++ sales.yaml/segment/smb\n" in run("diff", "-f", str(EXAMPLE), *here, code=1)
    run("apply", "-f", str(EXAMPLE), "--yes", "--actor", "ana", *here)
    assert run("diff", "-f", str(EXAMPLE), *here) == ""
    edited = tmp_path / "edited.yaml"
    edited.write_text(
        EXAMPLE.read_text().replace("record.revenue >= 1000000.0", "record.revenue >= 5000.0").replace("total: 30", "total: 31")
    )
    told = run("diff", "-f", str(edited), *here, code=1)
    assert "--- stored/segment/enterprise\n+++ edited.yaml/segment/enterprise\n@@" in told
    assert "-condition: record.revenue >= 1000000.0\n+condition: record.revenue >= 5000.0\n" in told
    assert "+++ edited.yaml/seller/ben" in told
    assert "\x1b" not in told
    lines = [json.loads(line) for line in run("diff", "-f", str(edited), "--json", *here, code=1).splitlines()]
    assert [(line["kind"], line["id"]) for line in lines] == [("CONFIG_KIND_SEGMENT", "enterprise"), ("SELLER", "ben")]
    edited.write_text("segments: [{segment_id: x, record_type: nothing, condition: 'true', priority: 1}]")
    assert "does not exist" in run("diff", "-f", str(edited), *here, code=2)
    assert "error" in run("diff", "-f", str(EXAMPLE), "--address", "127.0.0.1:1", code=2)
    run("segments", "copy", "enterprise", "giants", "--priority", "2", "--actor", "ben", *here)
    assert "exists already" in run("segments", "copy", "enterprise", "giants", *here, code=6)
    assert "needs a --condition" in run("segments", "copy", "smb", "small", *here, code=2)
    assert "inactive" in run("segments", "list", *here)
    run("segments", "activate", "giants", *here)
    told = run("changes", "segment", "giants", *here)
    assert "ben: segment/giants created" in told
    assert "-state: RESOURCE_STATE_INACTIVE\n+state: RESOURCE_STATE_ACTIVE" in told
    assert "+- rule_id: same-country" in told
    told = run("segments", "delete", "giants", "--dry-run", *here)
    assert "rules[1]" in told
    run("segments", "delete", "giants", "--yes", *here)
    assert "giants.same-country" in run("export", *here)
    assert "is the default segment" in run("segments", "delete", "smb", "--yes", *here, code=5)
    assert "segment/giants deleted" in run("changes", "segments", "--count", "2", *here)
    assert "is no kind" in run("changes", "nonsense", *here, code=2)


def test_a_manual_clock_is_refused_beyond_this_machine(tmp_path: Path) -> None:
    ended = reallot(
        *("serve", "--host", "0.0.0.0", "--clock", "manual:2026-03-05T09:00Z", "--allow-remote-without-authentication"),
        *("--database-url", f"sqlite:///{tmp_path / 'x.sqlite'}"),
    )
    assert ended.returncode == 2
    assert "loopback" in ended.stderr


def test_listening_beyond_this_machine_needs_to_be_said(tmp_path: Path) -> None:
    ended = reallot("serve", "--host", "0.0.0.0", "--database-url", f"sqlite:///{tmp_path / 'x.sqlite'}")
    assert ended.returncode == 2
    assert "authentication" in ended.stderr


def test_migrating_is_safe_to_repeat(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'm.sqlite'}"
    assert "empty →" in reallot("migrate", "--database-url", url).stdout
    assert "up to date" in reallot("migrate", "--database-url", url).stdout
