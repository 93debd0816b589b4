"""`reallot solve`: a file in, an answer out, no server."""

import csv
import json
import pathlib
import subprocess
import sys
from typing import Any

GAP = "2 3\n 1 2 3\n 4 5 6\n 1 1 1\n 2 2 2\n 2 4"
REALLOT = pathlib.Path(sys.executable).parent / "reallot"


def solved(folder: pathlib.Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    file = folder / "problem"
    file.write_text(text)
    return subprocess.run([REALLOT, "solve", str(file), *arguments], capture_output=True, text=True, timeout=60, check=False)


def answer_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_answer_is_one_json_object(tmp_path: pathlib.Path) -> None:
    answer = answer_of(solved(tmp_path, GAP, "--format", "orlib-gap", "--json"))

    assert answer.pop("seconds") >= 0
    assert answer == {"status": "OPTIMAL", "value": 9, "bound": 9, "gap": 0.0, "assigned": 3, "unassigned": 0}


def test_the_plan_goes_to_a_file_and_people_get_a_table(tmp_path: pathlib.Path) -> None:
    plan = tmp_path / "plan.csv"
    problem = {
        "records": [{"id": "lead-1"}, {"id": "lead-2", "optional": True, "skip_cost": 0.5}],
        "sellers": [{"id": "ana", "maximum_load": 1}],
        "pairs": [{"record": "lead-1", "seller": "ana", "value": 1.25}, {"record": "lead-2", "seller": "ana", "value": 2}],
    }

    done = solved(tmp_path, json.dumps(problem), "--plan", str(plan))

    assert done.returncode == 0, done.stderr
    assert "optimal" in done.stdout
    assert "1.75" in done.stdout
    assert list(csv.reader(plan.read_text().splitlines())) == [["record", "seller", "value", "load"], ["lead-1", "ana", "1.25", "1"]]


def test_r5_no_pair_allowed_is_an_answer_with_a_reason(tmp_path: pathlib.Path) -> None:
    problem = {"records": [{}] * 20, "sellers": [{}] * 5, "pairs": []}

    answer = answer_of(solved(tmp_path, json.dumps(problem), "--json"))

    assert (answer["status"], answer["value"], answer["assigned"], answer["unassigned"]) == ("INFEASIBLE", None, 0, 20)
    assert answer["reason"] == "record 0 needs 1 sellers, none of its pairs can be chosen (and so for 19 more records)"


def test_a_fair_plan_says_how_fair_it_is(tmp_path: pathlib.Path) -> None:
    problem = {
        "sense": "max",
        "records": [{}] * 4,
        "sellers": [{"id": "ana"}, {"id": "ben"}],
        "pairs": [{"record": r, "seller": s, "value": 2.5 if s == "ana" else 1.5} for r in range(4) for s in ("ana", "ben")],
    }

    answer = answer_of(solved(tmp_path, json.dumps(problem), "--json", "--fairness", "even-load", "--price-steps", "1"))

    assert (answer["status"], answer["value"]) == ("OPTIMAL", 8.0)
    price = [{"floor": 0, "measure": 0, "value": 10.0, "bound": 10.0}, {"floor": 2, "measure": 2, "value": 8.0, "bound": 8.0}]
    loads, values = {"ana": 2, "ben": 2}, {"ana": 5.0, "ben": 3.0}
    assert answer["fairness"] == {"measure": 2, "bound": 2, "loads": loads, "values": values, "price": price}
    refused = solved(tmp_path, json.dumps(problem), "--price-steps", "1")
    assert (refused.returncode, refused.stderr) == (2, "error: --price-steps needs --fairness\n")


def test_flows_of_dimacs_are_solved_too(tmp_path: pathlib.Path) -> None:
    text = "p min 3 3\nn 1 4\nn 3 -4\na 1 3 1 2 5\na 1 2 0 3 1\na 2 3 0 3 1\n"

    assert answer_of(solved(tmp_path, text, "--format", "dimacs-min", "--json"))["value"] == 11
    assert answer_of(solved(tmp_path, text.replace("-4", "-5"), "--format", "dimacs-min", "--json"))["status"] == "INFEASIBLE"


def test_a_file_that_cannot_be_read_ends_with_the_reason(tmp_path: pathlib.Path) -> None:
    done = solved(tmp_path, "2 3 1", "--format", "orlib-gap")

    assert (done.returncode, done.stdout) == (2, "")
    assert "2 agents and 3 jobs need 16 numbers, the file has 3" in done.stderr
    assert solved(tmp_path, GAP, "--format", "orlib-gap", "--sense", "up").returncode == 2
