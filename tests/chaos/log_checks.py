"""The log against itself and against the records: numbers, states one after the other, rows, decisions, notices."""

import json

from chaos.books import NOBODY, Books, Row, by, owner_in, owner_of
from chaos.findings import Kind, Report

TOLD = frozenset({"RESEGMENTED", "REASSIGNED", "ASSIGNED", "UNASSIGNED"})
"""Kinds of events of which old and new owner are told."""


def check_numbers(books: Books, report: Report) -> None:
    """Numbers run from the first that is kept to the counter without a gap; digests of sellers take numbers of their own."""
    numbers = {e["number"] for e in books["events"]} | {n["number"] for n in books["notices"]}
    last, expected = books.counters["event_number"], books.counters["retained_from"]
    for number in sorted(numbers):
        if number < expected:
            report.add(Kind.NUMBER_UNKNOWN, f"event {number}", f"the log is kept from {expected} on")
            continue
        if number != expected:
            report.add(Kind.NUMBER_MISSING, f"event {expected}", f"the log goes on with {number}")
        expected = number + 1
    if expected != last + 1:
        report.add(Kind.NUMBER_UNKNOWN, f"event {expected - 1}", f"the last of the log; the counter stands at {last}")
    report.count("event numbers", len(numbers))


def check_states(books: Books, report: Report) -> None:
    """Every event begins where the one before it ended, and the row is where the last one ended."""
    rows = {row["record_id"]: row for row in books["records"]}
    log = by(books["events"], "record_id")
    complete = books.counters["retained_from"] == 1
    for record_id, events in log.items():
        _chain(record_id, events, report, complete=complete)
        last = events[-1]
        row = rows.get(record_id)
        if row is None and last["after"] is not None:
            report.add(Kind.RECORD_LOST, f"record {record_id}", f"the last event {last['number']} {last['kind']} leaves it alive")
        elif row is not None and last["after"] is None:
            report.add(Kind.RECORD_UNTOLD, f"record {record_id}", f"the last event {last['number']} deletes it")
        elif row is not None:
            _row(row, last, report)
    for record_id in rows.keys() - log.keys() if complete else ():
        report.add(Kind.RECORD_UNTOLD, f"record {record_id}", "it has no event")
    report.count("events", len(books["events"]))
    report.count("records", len(rows))


def _chain(record_id: str, events: list[Row], report: Report, *, complete: bool) -> None:
    # Where old events were removed, nobody knows in which state the first one should begin.
    state = None if complete else _plain(events[0]["before"])
    for event in events:
        before = _plain(event["before"])
        if before != state:
            holder, taker = owner_in(state), owner_in(event["after"])
            two = holder not in (NOBODY, owner_in(before)) and taker not in (NOBODY, holder)
            evidence = f"event {event['number']} {event['kind']} begins with {_shown(before, state)}"
            report.add(Kind.TWO_OWNERS if two else Kind.CHAIN_BROKEN, f"record {record_id}", evidence)
        state = _plain(event["after"])


def _plain(state: Row | None) -> Row | None:
    """Return a state without fields: events show only those that changed."""
    return {k: v for k, v in state.items() if k != "fields"} if state is not None else None


def _shown(got: Row | None, expected: Row | None) -> str:
    if got is None or expected is None:
        return f"{got}, after {expected}"
    names = sorted(k for k in got.keys() | expected.keys() if got.get(k) != expected.get(k))
    return ", ".join(f"{name} = {got.get(name)!r}, after {expected.get(name)!r}" for name in names)


def _row(row: Row, last: Row, report: Report) -> None:
    after = last["after"]
    if owner_of(row) != owner_in(after):
        evidence = f"the row says {owner_of(row)}, event {last['number']} {owner_in(after)}"
        report.add(Kind.OWNER_CONTRADICTED, f"record {row['record_id']}", evidence)
    enrollment = after.get("enrollment") or {}
    expected = {
        "active": after["active"],
        "priority": after["priority"],
        "segment_id": after.get("segment_id", ""),
        "segmentation": after.get("segmentation", "").removeprefix("SEGMENTATION_STATUS_"),
        "assignment": after.get("assignment", "").removeprefix("ASSIGNMENT_STATUS_"),
        "rule_id": after.get("rule_id", ""),
        "enrollment_id": enrollment.get("enrollment_id", ""),
        "sequence_id": enrollment.get("sequence_id", ""),
        "step": enrollment.get("step", 0),
    }
    wrong = [f"{name} = {row[name]!r}, not {value!r}" for name, value in expected.items() if row[name] != value]
    if wrong:
        report.add(Kind.ROW_CONTRADICTED, f"record {row['record_id']}", f"event {last['number']}: the row has {', '.join(wrong)}")


def check_decisions(books: Books, report: Report) -> None:
    """Every change of owner by the road or by hand stands in the decision log, once."""
    made = by(books["decisions"], "record_id", "time_us", "run_id")
    for event in books["events"]:
        by_hand = (event["cause"] or {}).get("kind") == "MANUAL"
        if event["after"] is None or owner_in(event["before"]) == owner_in(event["after"]) or not (event["run_id"] or by_hand):
            continue
        report.count("changes of owner")
        lines = made.get((event["record_id"], event["time_us"], event["run_id"]), [])
        fitting = [line for line in lines if owner_in(line["after"]) == owner_in(event["after"])]
        if len(fitting) != 1:
            evidence = f"event {event['number']} {event['kind']} to {owner_in(event['after'])} has {len(fitting)} decisions"
            report.add(Kind.DECISION_WRONG, f"record {event['record_id']}", evidence)
    told = {(e["record_id"], e["time_us"]) for e in books["events"]}
    for line in books["decisions"]:
        if owner_in(line["before"]) != owner_in(line["after"]) and (line["record_id"], line["time_us"]) not in told:
            evidence = f"decision {line['decision_id']} gives it to {owner_in(line['after'])}, and no event tells of it"
            report.add(Kind.DECISION_WRONG, f"record {line['record_id']}", evidence)
    report.count("decisions", len(books["decisions"]))


def check_notices(books: Books, report: Report) -> None:
    """Sellers are told of what concerns them: each by itself, or in the digest of the run."""
    events = {event["number"]: event for event in books["events"]}
    told = {(n["number"], n["seller_id"]) for n in books["notices"]}
    digests = {(n["seller_id"], _run_of(n)) for n in books["notices"] if n["body"] is not None}
    paused = any(row["kind"] == "settings" and row["body"].get("paused") for row in books["config"])
    for notice in books["notices"]:
        if notice["body"] is None:
            event = events.get(notice["number"])
            if event is None or ("SELLER", notice["seller_id"]) not in (owner_in(event["before"]), owner_in(event["after"])):
                report.add(
                    Kind.NOTICE_WRONG, f"seller {notice['seller_id']}", f"notice {notice['number']} of {event and event['record_id']}"
                )
    for event in events.values():
        if event["kind"] not in TOLD or paused or (event["cause"] or {}).get("quiet"):
            continue
        for kind, seller in {owner_in(event["before"]), owner_in(event["after"])} - {NOBODY}:
            if kind == "SELLER" and (event["number"], seller) not in told and (seller, event["run_id"]) not in digests:
                evidence = f"event {event['number']} {event['kind']} of record {event['record_id']}, run {event['run_id'] or 'none'}"
                report.add(Kind.SELLER_NOT_TOLD, f"seller {seller}", evidence)
    report.count("notices", len(books["notices"]))


def _run_of(notice: Row) -> str:
    return str(json.loads(notice["body"]).get("run_id", ""))
