"""The auditor finds every kind of fault, planted one at a time into a good history, and nothing in the good one."""

import ast
import asyncio
import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text

from chaos.auditor import audit, main
from chaos.findings import Kind, Report
from chaos.siege import Siege

WORK_S, MOST_ROUNDS = 1.5, 30
WANTED = (
    "SELECT count(*) FROM enrollments WHERE state = 'ENDED'",
    "SELECT count(*) FROM events WHERE kind = 'DELETED'",
    "SELECT count(*) FROM events WHERE kind = 'UNASSIGNED' AND cause LIKE '%MANUAL%'",
    "SELECT count(*) FROM events WHERE kind = 'ASSIGNED' AND cause LIKE '%MANUAL%'",
    "SELECT count(*) FROM runs WHERE kind = 'MANUAL' AND state = 'SUCCEEDED'",
    "SELECT count(*) FROM time_off",
    "SELECT count(*) / 200 FROM events",
)
"""The history goes on until each of these is there."""


@dataclass(frozen=True)
class History:
    """A settled history: a database and the journals of its clients."""

    folder: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder / 'office.sqlite'}"

    @property
    def journals(self) -> list[Path]:
        return [self.folder / "requests.jsonl", self.folder / "heard.jsonl"]

    def audit(self) -> Report:
        return audit(self.url, self.journals, settled=True)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> History:
    """A history with everything in it: moves, manual and forced assignments, releases, deletions, runs, notices, a crash."""
    made = History(tmp_path_factory.mktemp("history"))

    async def happen() -> None:
        async with Siege(made.url, made.folder, followers=8) as siege:
            await siege.work(WORK_S)
            await siege.kill(siege.servers[0])
            await siege.start_servers()
            for _ in range(MOST_ROUNDS):
                await siege.work(WORK_S)
                if all(siege.look.number(statement) for statement in WANTED):
                    break
            assert await siege.settle() == ""

    asyncio.run(happen())
    return made


@pytest.fixture
def history(good: History, tmp_path: Path) -> History:
    """A copy of the good history, to be spoilt."""
    return History(shutil.copytree(good.folder, tmp_path / "copy"))


def test_nothing_is_found_in_a_good_history(good: History) -> None:
    report = good.audit()
    assert [str(finding) for finding in report.findings] == []
    looked_at = (
        "events",
        "changes of owner",
        "assignments up to a maximum",
        "notices",
        "enrollments",
        "turns",
        "runs",
        "effects",
        "capacities",
        "assignments within a window",
    )
    assert [what for what in (*looked_at, "requests: delete", "requests: release") if report.checked[what] == 0] == []
    assert report.checked["followers"] == 8
    assert report.checked["assignments with an unknown maximum"] == 0


Spoil = Callable[[Connection], Any]


def one(db: Connection, statement: str, **values: Any) -> Any:
    row = db.execute(text(statement), values).first()
    assert row is not None, statement
    return row


def sql(*statements: str) -> Spoil:
    """Return a fault that is a few statements, each of which must change something."""

    def spoil(db: Connection) -> None:
        for statement in statements:
            assert db.execute(text(statement)).rowcount, statement

    return spoil


OWNED = "(SELECT record_id FROM records WHERE owner_kind = 'SELLER' AND active LIMIT 1)"
GAIN = "SELECT max(number) FROM events WHERE kind = 'ASSIGNED' AND run_id <> ''"
QUIET = "SELECT min(number) FROM events WHERE number > 1 AND number NOT IN (SELECT number FROM notices)"
OTHER = "CASE owner_id WHEN 's00' THEN 's01' ELSE 's00' END"


def give_twice(db: Connection) -> None:
    """An assignment after which another server assigns the record again, as if nobody owned it."""
    event = one(db, f"SELECT * FROM events WHERE number = ({GAIN})")._mapping
    last = one(db, "SELECT event_number FROM workspaces").event_number
    other = "s00" if '"s00"' not in event["after"] else "s01"
    after = json.loads(event["after"]) | {"owner": {"seller_id": other}}
    again = dict(event) | {"number": last + 1, "after": json.dumps(after), "time_us": event["time_us"] + 1}
    names = ", ".join(f'"{name}"' for name in again)
    db.execute(text(f"INSERT INTO events ({names}) VALUES ({', '.join(':' + name for name in again)})"), again)
    db.execute(text("UPDATE workspaces SET event_number = event_number + 1"))


def open_twice(db: Connection) -> None:
    row = dict(one(db, "SELECT * FROM enrollments WHERE state = 'ACTIVE'")._mapping) | {"enrollment_id": "another"}
    db.execute(text(f"INSERT INTO enrollments ({', '.join(row)}) VALUES ({', '.join(':' + name for name in row)})"), row)


def turn_round(db: Connection) -> None:
    """Those who were served last stand first."""
    low, high = one(db, 'SELECT min("order"), max("order") FROM turns')
    db.execute(text('UPDATE turns SET "order" = :both - "order"'), {"both": low + high})


def write_twice(db: Connection) -> None:
    """A write that shows in the next event of its record that is none of a run, too."""
    wanted = "SELECT record_id, number, after FROM events WHERE after <> 'null' AND run_id = '' ORDER BY record_id, number"
    events = db.execute(text(wanted)).all()
    for first, second in itertools.pairwise(events):
        fields = json.loads(first.after).get("fields")
        if first.record_id == second.record_id and fields:
            after = json.dumps(json.loads(second.after) | {"fields": fields})
            assert db.execute(text("UPDATE events SET after = :a WHERE number = :n"), {"a": after, "n": second.number}).rowcount
            return
    raise AssertionError("no record has two events")


IN_DATABASE: list[tuple[Kind, str, Spoil]] = [
    (Kind.NUMBER_MISSING, "event lost", sql(f"DELETE FROM events WHERE number = ({QUIET})")),
    (Kind.NUMBER_MISSING, "beginning lost", sql("DELETE FROM events WHERE number = 1")),
    (Kind.NUMBER_UNKNOWN, "not kept and there", sql("UPDATE workspaces SET retained_from = 3")),
    (Kind.NUMBER_UNKNOWN, "counter set back", sql("UPDATE workspaces SET event_number = event_number - 1")),
    (Kind.CHAIN_BROKEN, "state changed", sql(f"UPDATE events SET before = replace(before, '50', '51') WHERE number = ({GAIN})")),
    (Kind.TWO_OWNERS, "given twice", give_twice),
    (Kind.OWNER_CONTRADICTED, "owner moved", sql(f"UPDATE records SET owner_id = {OTHER} WHERE record_id = {OWNED}")),
    (Kind.ROW_CONTRADICTED, "segment moved", sql(f"UPDATE records SET segment_id = 'elsewhere' WHERE record_id = {OWNED}")),
    (Kind.ROW_CONTRADICTED, "owned and waiting", sql(f"UPDATE records SET waiting_since_us = 1 WHERE record_id = {OWNED}")),
    (Kind.RECORD_LOST, "row gone", sql(f"DELETE FROM records WHERE record_id = {OWNED}")),
    (Kind.RECORD_LOST, "row set back", sql(f"UPDATE records SET version = 0 WHERE record_id = {OWNED}")),
    (Kind.RECORD_UNTOLD, "row from nowhere", sql(f"UPDATE records SET record_id = 'stranger' WHERE record_id = {OWNED}")),
    (Kind.LOAD_WRONG, "effort", sql("UPDATE loads SET effort = effort + 1 WHERE seller_id = (SELECT min(seller_id) FROM loads)")),
    (Kind.LOAD_WRONG, "records", sql("UPDATE loads SET records = records + 1 WHERE seller_id = (SELECT min(seller_id) FROM loads)")),
    (Kind.LOAD_WRONG, "counter gone", sql("DELETE FROM loads WHERE effort > 0 AND seller_id = (SELECT min(seller_id) FROM loads)")),
    (Kind.ABOVE_WINDOW, "smaller window", sql("UPDATE sellers SET capacity = replace(capacity, '\"count\"\\:40', '\"count\"\\:0')")),
    (Kind.WINDOW_WRONG, "not given", sql("UPDATE gains SET effort = effort + 1")),
    (Kind.TURN_WRONG, "turned round", turn_round),
    (Kind.TURN_WRONG, "same turn", sql('UPDATE turns SET "order" = 1')),
    # Of a seller whose last gain the log cannot tell from a record left where it was, a missing turn proves nothing: so all go.
    (Kind.TURN_WRONG, "turns gone", sql("DELETE FROM turns")),
    (Kind.ENROLLMENT_WRONG, "two open", open_twice),
    (Kind.ENROLLMENT_WRONG, "none open", sql("DELETE FROM enrollments WHERE state = 'ACTIVE'")),
    (Kind.ENROLLMENT_WRONG, "ended without an end", sql("UPDATE enrollments SET end_us = NULL WHERE state = 'ENDED'")),
    (
        Kind.PENDING_WITHOUT_RECORD,
        "mark of nobody",
        sql("INSERT INTO pending (workspace, record_id, number, since_us) VALUES ('default', 'stranger', 1, 1)"),
    ),
    (
        Kind.PENDING_LEFT,
        "mark forgotten",
        sql(f"INSERT INTO pending (workspace, record_id, number, since_us) SELECT 'default', record_id, 1, 1 FROM {OWNED}"),
    ),
    (Kind.RUN_LEFT, "run forgotten", sql("UPDATE runs SET state = 'RUNNING' WHERE run_id = (SELECT max(run_id) FROM runs)")),
    (Kind.DECISION_WRONG, "decision lost", sql("DELETE FROM decisions WHERE run_id <> ''")),
    (
        Kind.DECISION_WRONG,
        "decision twice",
        sql(
            "INSERT INTO decisions (workspace, record_id, time_us, cause, status, reason, before, after, rule_id, run_id) "
            "SELECT workspace, record_id, time_us, cause, status, reason, before, after, rule_id, run_id FROM decisions"
        ),
    ),
    (Kind.DECISION_WRONG, "no event", sql("UPDATE decisions SET time_us = time_us + 1 WHERE before <> after")),
    (Kind.NOTICE_WRONG, "stranger told", sql(f"UPDATE notices SET seller_id = 'stranger' WHERE number = ({GAIN})")),
    (Kind.SELLER_NOT_TOLD, "notice lost", sql(f"DELETE FROM notices WHERE number = ({GAIN})")),
    (Kind.REQUEST_FORGOTTEN, "answer lost", sql("DELETE FROM requests WHERE request_id = (SELECT min(request_id) FROM requests)")),
    (
        Kind.ANSWER_DIFFERS,
        "answer changed",
        sql("UPDATE requests SET answer = x'00' WHERE request_id = (SELECT max(request_id) FROM requests)"),
    ),
    (Kind.EFFECT_MISSING, "capacity lost", sql("UPDATE sellers SET capacity = '{\"total\": 7777}' WHERE seller_id = 's00'")),
    (Kind.EFFECT_MISSING, "absence lost", sql("DELETE FROM time_off")),
    (
        Kind.EFFECT_TWICE,
        "absence twice",
        sql("INSERT INTO time_off SELECT workspace, seller_id, 'again', start_us, end_us, note FROM time_off LIMIT 1"),
    ),
    (Kind.EFFECT_TWICE, "write twice", write_twice),
    (Kind.EFFECT_MISSING, "configuration lost", sql("DELETE FROM config_changes")),
    (Kind.EFFECT_MISSING, "run lost", sql("DELETE FROM runs WHERE kind = 'MANUAL'")),
    (
        Kind.EFFECT_TWICE,
        "two runs",
        sql(
            "UPDATE runs SET cause = (SELECT max(cause) FROM runs WHERE kind = 'MANUAL') WHERE kind = 'EVENT'",
            "UPDATE runs SET kind = 'MANUAL'",
        ),
    ),
    (Kind.EFFECT_MISSING, "deed unnamed", sql("UPDATE events SET cause = '{\"kind\":\"MANUAL\"}' WHERE cause LIKE '%MANUAL%'")),
    (Kind.EFFECT_MISSING, "write unseen", sql("UPDATE events SET after = replace(after, 'token', 'nothing') WHERE kind = 'CREATED'")),
    (Kind.EFFECT_MISSING, "deletion unseen", sql("UPDATE events SET kind = 'CHANGED' WHERE kind = 'DELETED'")),
]


@pytest.mark.parametrize(("kind", "spoil"), [(k, s) for k, _, s in IN_DATABASE], ids=[f"{k.name}: {name}" for k, name, _ in IN_DATABASE])
def test_a_fault_in_the_database_is_found(history: History, kind: Kind, spoil: Spoil) -> None:
    engine = create_engine(history.url)
    with engine.begin() as db:
        spoil(db)
    engine.dispose()
    assert kind in {finding.kind for finding in history.audit().findings}


@pytest.mark.parametrize(
    "name", ["auditor", "books", "capacity_checks", "client_checks", "findings", "journal", "log_checks", "window_checks"]
)
def test_the_auditor_shares_no_code_with_what_it_audits(name: str) -> None:
    tree = ast.parse((Path(__file__).parent / f"{name}.py").read_text())
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert [module for module in imported if module.startswith("reallot")] == []


Lines = list[dict[str, Any]]


def requests(lines: Lines, method: str) -> Lines:
    """Return the accepted requests of a method, each with its answer."""
    answers = {line["id"]: line for line in lines if line["t"] == "answer" and line["outcome"] == "OK"}
    return [line | {"answer": answers[line["id"]]} for line in lines if line.get("method") == method and line["id"] in answers]


def heard(lines: Lines) -> tuple[int, int]:
    """Return the places of two messages that a follower heard one after the other on one connection."""
    where = [(n, line) for n, line in enumerate(lines) if line["t"] == "heard" and line["follower"] == "f00"]
    for (a, first), (b, second) in itertools.pairwise(where):
        if first["connection"] == second["connection"] == 1 and first["number"] < second["number"]:
            return a, b
    raise AssertionError("the follower heard nothing")


def refuse(lines: Lines) -> None:
    requests(lines, "upsert")[0]["answer"].update(outcome="INVALID_ARGUMENT")


def refuse_assigned(lines: Lines) -> None:
    found = next(r for r in requests(lines, "assign") if r["answer"]["result"]["assigned"])
    found["answer"]["result"]["assigned"] = []


def lower(lines: Lines) -> None:
    for request in requests(lines, "capacity"):
        for capacity in request["intent"]["sellers"].values():
            capacity["total"] = 1


def same_version(lines: Lines) -> None:
    seen: dict[str, dict[str, Any]] = {}
    for request in requests(lines, "upsert"):
        for result in request["answer"]["result"]["results"]:
            if result["id"] in seen and not result["conflict"]:
                result["etag"] = seen[result["id"]]["etag"]
                return
            seen[result["id"]] = result
    raise AssertionError("no record was written twice")


def more_released(lines: Lines) -> None:
    requests(lines, "release")[0]["answer"]["result"]["released"] += 1


def later_version(lines: Lines) -> None:
    deleted = {record for request in requests(lines, "delete") for record in request["intent"]["records"]}
    results = [r for request in requests(lines, "upsert") for r in request["answer"]["result"]["results"] if r["id"] not in deleted]
    results[0]["etag"] = "999"


def forget(lines: Lines, number: int) -> None:
    """Take an event from a follower, on all connections."""
    lines[:] = [line for line in lines if (line["t"], line["follower"], line.get("number")) != ("heard", "f00", number)]


def miss(lines: Lines) -> None:
    forget(lines, lines[heard(lines)[0]]["number"])


def miss_the_end(lines: Lines) -> None:
    forget(lines, max(line["number"] for line in lines if line["t"] == "heard" and line["follower"] == "f00"))


def swap(lines: Lines) -> None:
    a, b = heard(lines)
    lines[a], lines[b] = lines[b], lines[a]


def twice_on_a_connection(lines: Lines) -> None:
    a, _ = heard(lines)
    lines.insert(a, lines[a])


def invent(lines: Lines) -> None:
    lines[heard(lines)[1]]["record"] = "stranger"


IN_JOURNALS: list[tuple[Kind, str, Callable[[Lines], None]]] = [
    (Kind.ABOVE_MAXIMUM, "requests", lower),
    (Kind.EFFECT_OF_REFUSED, "requests", refuse),
    (Kind.EFFECT_OF_REFUSED, "requests", refuse_assigned),
    (Kind.EFFECT_TWICE, "requests", same_version),
    (Kind.EFFECT_MISSING, "requests", more_released),
    (Kind.RECORD_LOST, "requests", later_version),
    (Kind.NOT_DELIVERED, "heard", miss),
    (Kind.NOT_DELIVERED, "heard", miss_the_end),
    (Kind.OUT_OF_ORDER, "heard", swap),
    (Kind.OUT_OF_ORDER, "heard", twice_on_a_connection),
    (Kind.NOT_IN_LOG, "heard", invent),
]


@pytest.mark.parametrize(("kind", "journal", "spoil"), IN_JOURNALS, ids=[f"{k.name}: {s.__name__}" for k, _, s in IN_JOURNALS])
def test_a_fault_that_clients_saw_is_found(history: History, kind: Kind, journal: str, spoil: Callable[[Lines], None]) -> None:
    path = history.folder / f"{journal}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    spoil(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert kind in {finding.kind for finding in history.audit().findings}


def test_every_kind_of_fault_is_planted() -> None:
    assert {kind for kind, *_ in (*IN_DATABASE, *IN_JOURNALS)} == set(Kind) - {Kind.GROWTH, Kind.NOT_SETTLED}


def test_a_repeat_on_another_connection_is_no_fault(history: History) -> None:
    path = history.folder / "heard.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    again = lines[heard(lines)[0]] | {"connection": 10**6}
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, again]))
    assert history.audit().findings == []


def test_the_program_says_what_it_looked_at_and_ends_with_a_code(history: History, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--database", history.url, "--settled", "--journal", *map(str, history.journals)]
    assert main(arguments) == 0
    assert "0 findings" in capsys.readouterr().out
    history.journals[1].write_text("")
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checked"]["events"] > 0
    history.journals[0].write_text("{")
    assert main(arguments) == 2
    assert "requests.jsonl:1" in capsys.readouterr().err
    assert main(["--database", history.url, "--settled", "--journal"]) == 0
    engine = create_engine(history.url)
    with engine.begin() as db:
        sql("UPDATE loads SET effort = effort + 1")(db)
    engine.dispose()
    assert main(["--database", history.url]) == 1
    assert "LOAD_WRONG seller s0" in capsys.readouterr().out
