"""Loads, maxima, turns: recounted from the rows, and replayed along the log.

What binds: an assignment by a rule that uses capacity, and one by hand that was not forced. The log does not tell how large a maximum
was; the journals do, up to the stretch of the log in which a request to change it was carried out. There, the larger one counts.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chaos.books import NOBODY, Books, Owner, Request, Row, by, owner_in, owner_of
from chaos.findings import Kind, Report

DEFAULT_CAPACITY = 1_000
Place = tuple[str, str]
"""Record type and segment."""


def check_loads(books: Books, report: Report) -> None:
    """The counters say what a recount over the records says."""
    recount: defaultdict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in books["records"]:
        holder = row["owner_id"] if row["owner_kind"] == "SELLER" else row["offered_to"]
        if row["active"] and holder:
            held = recount[holder, row["record_type"], row["segment_id"]]
            held[0] += row["effort"]
            held[1] += 1
    stored = {(r["seller_id"], r["record_type"], r["segment_id"]): [r["effort"], r["records"]] for r in books["loads"]}
    for place in sorted(recount.keys() | stored.keys()):
        if stored.get(place, [0, 0]) != recount.get(place, [0, 0]):
            evidence = f"{place[1:]}: effort and records are {stored.get(place)}, recounted {recount.get(place)}"
            report.add(Kind.LOAD_WRONG, f"seller {place[0]}", evidence)
    report.count("load counters", len(stored))


@dataclass(frozen=True)
class Weight:
    """Where an active record of a seller weighs."""

    seller: str
    place: Place
    effort: int


class Rules:
    """What configuration and journals say about maxima. Where it changed in the course of time, only what always held is used."""

    def __init__(self, books: Books) -> None:
        self._without_capacity: set[str] = set()
        self.counted: set[str] = set()
        self.default = 0
        versions = by(books["config"], "kind", "id")
        history: defaultdict[Any, list[Row]] = defaultdict(list)
        for change in books["config_changes"]:
            history[change["kind"], change["id"]] += [_json(change[side]) for side in ("before", "after") if change[side]]
        for key, rows in versions.items():
            bodies = [row["body"] for row in rows] + history.get(key, [])
            if key[0] == "segment":
                self._segment(key[1], bodies)
            elif key[0] == "settings":
                self.default = max(int(body.get("default_capacity", DEFAULT_CAPACITY)) for body in bodies)
        self.default = self.default or DEFAULT_CAPACITY
        self._efforts = _efforts(books)
        self._forced = {
            (request.id, record) for request in books.sent("assign") if request.intent.get("force") for record in request.intent["records"]
        }
        self._capacities: defaultdict[str, list[tuple[Request, Row]]] = defaultdict(list)
        for request in books.sent("capacity"):
            if not request.refused:
                for seller, capacity in request.intent["sellers"].items():
                    self._capacities[seller].append((request, capacity))

    def _segment(self, segment: str, bodies: list[Row]) -> None:
        rules = [[rule for rule in body.get("rules", []) if _active(rule) and _active(body)] for body in bodies]
        if all(rules):
            self.counted.add(bodies[0]["record_type"])
        for rule in itertools.chain.from_iterable(rules):
            if rule.get("use_capacity") is False:
                self._without_capacity.add(f"{segment}/{rule['rule_id']}")

    def weight(self, event: Row, side: str) -> Weight | None:
        """Return where the record of an event weighs before or after it."""
        state: Row | None = event[side]
        owner = owner_in(state)
        if state is None or not state["active"] or owner[0] != "SELLER":
            return None
        return Weight(owner[1], (event["record_type"], state.get("segment_id", "")), self.effort(event))

    def effort(self, event: Row) -> int:
        """Return the least effort that the record of an event ever had."""
        return self._efforts.get(event["record_id"], 1)

    def binds(self, event: Row) -> bool:
        """Tell whether the event is an assignment to a seller that a maximum holds back."""
        after, cause = event["after"], event["cause"] or {}
        if after is None or owner_in(after)[0] != "SELLER" or owner_in(after) == owner_in(event["before"]) or not after["active"]:
            return False
        if cause.get("kind") == "MANUAL":
            return (cause.get("detail", ""), event["record_id"]) not in self._forced
        rule = after.get("rule_id", "")
        return bool(event["run_id"]) and after.get("assignment") == "ASSIGNMENT_STATUS_ASSIGNED" and rule not in self._without_capacity

    def maximum(self, seller: str, number: int) -> list[Row]:
        """Return the capacities that the seller may have had when the event with this number was committed; none = not known."""
        found: list[Row] = []
        for request, capacity in self._capacities[seller]:
            if request.sent_at >= number:
                continue
            sure = request.answered_at is not None and request.answered_at < number
            found = [capacity] if sure else [*found, capacity]
        return found


def _json(text: str) -> Row:
    return dict(json.loads(text))


def _active(body: Row) -> bool:
    return body.get("state", "RESOURCE_STATE_ACTIVE") in ("RESOURCE_STATE_ACTIVE", "RESOURCE_STATE_UNSPECIFIED")


def _efforts(books: Books) -> dict[str, int]:
    """Return the least effort that a record ever had."""
    efforts = {row["record_id"]: row["effort"] for row in books["records"]}
    for request in books.sent("upsert"):
        for record in request.intent["records"]:
            effort = record.get("effort")
            if effort is not None:
                efforts[record["id"]] = min(effort, efforts.get(record["id"], effort))
    return efforts


def check_maxima(books: Books, report: Report) -> None:
    """Replay the log: after no transaction does a binding assignment stand above a maximum."""
    rules = Rules(books)
    held: defaultdict[str, defaultdict[Place, int]] = defaultdict(lambda: defaultdict(int))
    if books["events"] and books["events"][0]["number"] != 1:
        return
    for group in _transactions(books["events"]):
        unbound: defaultdict[tuple[str, Place], int] = defaultdict(int)
        bound: dict[tuple[str, Place], Row] = {}
        for event in group:
            before, after = rules.weight(event, "before"), rules.weight(event, "after")
            if before is not None:
                held[before.seller][before.place] -= before.effort
            if after is None:
                continue
            held[after.seller][after.place] += after.effort
            if rules.binds(event):
                bound[after.seller, after.place] = event
            elif before != after:
                unbound[after.seller, after.place] += after.effort
        for (seller, place), event in bound.items():
            report.count("binding assignments")
            # Those that no maximum holds back come after the others of their transaction.
            loads = {there: effort - unbound[seller, there] for there, effort in held[seller].items()}
            _within(rules, seller, place, loads, event, report)


def _transactions(events: list[Row]) -> Iterator[list[Row]]:
    """Yield the events of one transaction after the other: they share their instant."""
    for _, group in itertools.groupby(events, key=lambda event: event["time_us"]):
        yield list(group)


def _within(rules: Rules, seller: str, place: Place, loads: dict[Place, int], event: Row, report: Report) -> None:
    capacities = rules.maximum(seller, event["number"])
    if not capacities:
        report.count("assignments with an unknown maximum")
        return
    record_type, segment = place
    total = sum(effort for (kind, _), effort in loads.items() if kind in rules.counted)
    of_type = sum(effort for (kind, _), effort in loads.items() if kind == record_type)
    of_segment = sum(effort for (_, there), effort in loads.items() if there == segment)
    for what, load, most in (
        ("in all", total, max(int(c.get("total", rules.default)) for c in capacities)),
        (f"of type {record_type}", of_type, _most(capacities, "by_record_type", record_type)),
        (f"in segment {segment}", of_segment, _most(capacities, "by_segment", segment)),
    ):
        report.count("assignments up to a maximum", load == most)
        if most is not None and load > most:
            evidence = f"event {event['number']} {event['kind']} of record {event['record_id']} leaves {load} {what}, at most {most}"
            report.add(Kind.ABOVE_MAXIMUM, f"seller {seller}", evidence)


def _most(capacities: list[Row], name: str, key: str) -> int | None:
    """Return the largest of the maxima; None if one of the capacities has none."""
    found = [(capacity.get(name) or {}).get(key) for capacity in capacities]
    return None if None in found else max(int(value) for value in found if value is not None)


def check_turns(books: Books, report: Report) -> None:
    """Turns are unique, and stand in the order in which sellers got their last records.

    A run of several commits draws its turns at once and commits them in another order: who got the last record by one is left out.
    """
    turns = {(row["seller_id"], row["record_type"]): row for row in books["turns"]}
    for order, rows in by(turns.values(), "order").items():
        if len(rows) > 1 or not 0 < order <= books.counters["turn_number"]:
            sellers = ", ".join(row["seller_id"] for row in rows)
            report.add(Kind.TURN_WRONG, f"seller {sellers}", f"turn {order} of {books.counters['turn_number']} drawn")
    last = _last_gains(books)
    ordered = sorted((event["number"], pair) for pair, event in last.items())
    commits: defaultdict[str, set[int]] = defaultdict(set)
    for event in books["events"]:
        commits[event["run_id"]].add(event["time_us"])
    highest, holder = 0, ("", "")
    for number, pair in ordered:
        row, event = turns.get(pair), last[pair]
        if row is None:
            report.add(Kind.TURN_WRONG, f"seller {pair[0]}", f"no turn of type {pair[1]} after event {number}")
        elif row["time_us"] == event["time_us"] and (not event["run_id"] or len(commits[event["run_id"]]) == 1):
            if row["order"] < highest:
                evidence = f"turn {row['order']} by event {number} stands before turn {highest} of {holder}, who was served earlier"
                report.add(Kind.TURN_WRONG, f"seller {pair[0]}", evidence)
            highest, holder = max((highest, holder), (row["order"], pair))
    report.count("turns", len(turns))


def _last_gains(books: Books) -> dict[Place, Row]:
    """Return the last event that gave each seller a record of a type, of those that count as a turn.

    A run may also give a record to the seller who has it already, and the log does not tell that from leaving it there: sellers for
    whom such an event follows in the same transaction are left out.
    """
    counted = Rules(books).counted
    last: dict[Place, Row] = {}
    for event in books["events"]:
        owner: Owner = owner_in(event["after"])
        quiet = (event["cause"] or {}).get("quiet")
        if owner[0] == "SELLER" and owner != owner_in(event["before"]) and event["record_type"] in counted and not quiet:
            last[owner[1], event["record_type"]] = event
        elif event["run_id"] and last.get((owner[1], event["record_type"]), {}).get("time_us") == event["time_us"]:
            del last[owner[1], event["record_type"]]
    return last


def check_enrollments(books: Books, report: Report) -> None:
    """A record has one open enrollment, the one in its row, or none; those of closed and deleted records have ended."""
    records = {row["record_id"]: row for row in books["records"]}
    open_ones = by((row for row in books["enrollments"] if row["state"] == "ACTIVE"), "record_id")
    for record_id in sorted(open_ones.keys() | records.keys()):
        record, rows = records.get(record_id), open_ones.get(record_id, [])
        stored = (record["enrollment_id"], record["sequence_id"], record["step"]) if record and record["enrollment_id"] else None
        found = [(row["enrollment_id"], row["sequence_id"], row["step"]) for row in rows]
        if found != ([stored] if stored else []) or (found and record and not record["active"]):
            report.add(Kind.ENROLLMENT_WRONG, f"record {record_id}", f"open are {found}, the row has {stored}")
    for row in books["enrollments"]:
        if (row["end_us"] is None) != (row["state"] == "ACTIVE"):
            report.add(
                Kind.ENROLLMENT_WRONG, f"record {row['record_id']}", f"{row['enrollment_id']} is {row['state']}, end {row['end_us']}"
            )
    report.count("enrollments", len(books["enrollments"]))


def check_rest(books: Books, report: Report) -> None:
    """Nothing waits for a record that is not there; once settled, nothing waits and nothing runs."""
    records = {row["record_id"]: row for row in books["records"]}
    for mark in books["pending"]:
        if mark["record_id"] not in records:
            report.add(Kind.PENDING_WITHOUT_RECORD, f"record {mark['record_id']}", f"mark {mark['number']}")
        elif books.settled:
            report.add(Kind.PENDING_LEFT, f"record {mark['record_id']}", f"mark {mark['number']}, {mark['cause']}")
    for run in books["runs"]:
        if books.settled and run["state"] in ("PENDING", "RUNNING"):
            report.add(Kind.RUN_LEFT, f"run {run['run_id']}", f"{run['kind']} is {run['state']}")
    for row in books["records"]:
        if row["active"] and (owner_of(row) == NOBODY) != (row["waiting_since_us"] is not None):
            evidence = f"it waits since {row['waiting_since_us']}, owned by {owner_of(row)}"
            report.add(Kind.ROW_CONTRADICTED, f"record {row['record_id']}", evidence)
    report.count("runs", len(books["runs"]))
    report.count("pending marks", len(books["pending"]))
