"""What clients were promised: every accepted request took effect exactly once, every follower heard everything in order."""

import json
from collections import Counter, defaultdict

from chaos.books import Books, Follower, Request, Row, by, owner_in
from chaos.findings import Kind, Report


def check_answers(books: Books, report: Report) -> None:
    """The answers to accepted requests are kept as they were given."""
    stored = {row["request_id"]: bytes(row["answer"]).hex() for row in books["requests"]}
    for request in books.requests.values():
        if request.accepted and request.id not in stored:
            report.add(Kind.REQUEST_FORGOTTEN, f"request {request.id}", request.method)
        elif request.accepted and request.answer != stored[request.id]:
            evidence = f"{request.method} was answered {request.answer[:60]}…, kept is {stored[request.id][:60]}…"
            report.add(Kind.ANSWER_DIFFERS, f"request {request.id}", evidence)
        elif request.refused and request.id in stored:
            report.add(Kind.EFFECT_OF_REFUSED, f"request {request.id}", f"{request.method} was refused: {request.outcome}")
        report.count(f"requests: {request.method}")
    report.count("accepted requests", sum(r.accepted for r in books.requests.values()))
    report.count("requests given up", sum(not r.outcome for r in books.requests.values()))


def _settle(report: Report, request: Request, record_id: str, events: list[int], expected: bool) -> None:
    """Compare the events that a request had on a record with the answer: once if it was carried out, never if not."""
    subject, where = f"request {request.id}", f"record {record_id}, events {events}"
    if len(events) > 1:
        report.add(Kind.EFFECT_TWICE, subject, f"{request.method} of {where}")
    elif request.accepted and expected and not events:
        report.add(Kind.EFFECT_MISSING, subject, f"{request.method} of {where}")
    elif events and (request.refused or (request.accepted and not expected)):
        report.add(Kind.EFFECT_OF_REFUSED, subject, f"{request.method} of {where}")
    report.count("effects")


def check_writes(books: Books, report: Report) -> None:
    """Every row of an upsert carries a token of its own, which comes by one event; versions are not given twice."""
    tokens: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for event in books["events"]:
        # What a run does shows, too, what the writes were that led to it.
        token = ((event["after"] or {}).get("fields") or {}).get("token") or {}
        if "text" in token and not event["run_id"]:
            tokens[event["record_id"], token["text"]].append(event["number"])
    given: dict[tuple[str, str], str] = {}
    for request in books.sent("upsert"):
        results = {row["id"]: row for row in request.result.get("results", [])}
        for record in request.intent["records"]:
            result = results.get(record["id"], {})
            _settle(report, request, record["id"], tokens.get((record["id"], record["token"]), []), not result.get("conflict"))
            version = (record["id"], result.get("etag", ""))
            if result and not result["conflict"] and given.setdefault(version, request.id) != request.id:
                evidence = f"version {version[1]} of record {record['id']} was given to {given[version]}, too"
                report.add(Kind.EFFECT_TWICE, f"request {request.id}", evidence)
    _check_created(books, report)


def _check_created(books: Books, report: Report) -> None:
    """What was stored and never deleted is there, in its latest version or a later one."""
    deleted = {record for request in books.sent("delete") for record in request.intent["records"]}
    versions = {row["record_id"]: row["version"] for row in books["records"]}
    latest: dict[str, int] = {}
    for request in books.sent("upsert"):
        for row in request.result.get("results", []):
            if not row["conflict"]:
                latest[row["id"]] = max(latest.get(row["id"], 0), int(row["etag"]))
    for record_id, version in latest.items():
        if record_id not in deleted and versions.get(record_id, 0) < version:
            evidence = f"version {version} was acknowledged, stored is {versions.get(record_id)}"
            report.add(Kind.RECORD_LOST, f"record {record_id}", evidence)
    report.count("acknowledged records", len(latest))


def check_deeds(books: Books, report: Report) -> None:
    """Assignments and releases by hand name their request, which shows in one event of each record; deletions show, too."""
    named: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    deletions: Counter[str] = Counter()
    for event in books["events"]:
        cause = event["cause"] or {}
        if cause.get("kind") == "MANUAL":
            named[event["record_id"], cause.get("detail", "")].append(event["number"])
        deletions[event["record_id"]] += event["kind"] == "DELETED"
    for request in books.sent("assign"):
        for record in request.intent["records"]:
            _settle(report, request, record, named[record, request.id], record in request.result.get("assigned", []))
    for request in books.sent("release"):
        events = [named[record, request.id] for record in request.intent["records"]]
        if request.accepted and sum(map(bool, events)) != request.result["released"]:
            kind = Kind.EFFECT_MISSING if sum(map(bool, events)) < request.result["released"] else Kind.EFFECT_TWICE
            report.add(kind, f"request {request.id}", f"released {request.result['released']}, events {events}")
        report.count("effects", len(events))
    requests = by(({"record": i, "request": r} for r in books.sent("delete") for i in r.intent["records"]), "record")
    for record, rows in requests.items():
        found = [row["request"] for row in rows if not row["request"].refused]
        if deletions[record] > len(found):
            report.add(Kind.EFFECT_TWICE, f"record {record}", f"{deletions[record]} deletions, {len(found)} requests")
        if not deletions[record] and any(r.accepted and r.result["deleted"] == len(r.intent["records"]) for r in found):
            report.add(Kind.EFFECT_MISSING, f"record {record}", f"deleted by {found[0].id}, and no event tells of it")
        report.count("effects")


def check_runs(books: Books, report: Report) -> None:
    """Every accepted request for a run made one, which names its request."""
    runs = by((row for row in books["runs"] if row["kind"] == "MANUAL"), "run_id")
    made = Counter((rows[0]["cause"] or {}).get("detail", "") for rows in runs.values())
    for request in books.sent("run"):
        if request.accepted and request.result["run_id"] not in runs:
            report.add(Kind.EFFECT_MISSING, f"request {request.id}", f"run {request.result['run_id']} does not exist")
        elif made[request.id] > 1:
            report.add(Kind.EFFECT_TWICE, f"request {request.id}", f"{made[request.id]} runs")
        elif request.refused and made[request.id]:
            report.add(Kind.EFFECT_OF_REFUSED, f"request {request.id}", f"{made[request.id]} runs")


def check_sellers(books: Books, report: Report) -> None:
    """A seller has the maximum that was written last, or one of which nobody knows whether it was; absences likewise."""
    stored = {row["seller_id"]: row for row in books["sellers"]}
    possible: dict[str, list[Row]] = {}
    for request in (r for r in books.sent("capacity") if not r.refused):
        for seller, capacity in request.intent["sellers"].items():
            possible[seller] = [capacity] if request.accepted else [*possible.get(seller, []), capacity]
    for seller, capacities in possible.items():
        capacity = _json(stored[seller]["capacity"]) if seller in stored else {}
        found = {name: value for name, value in capacity.items() if name != "windows"}
        if found not in capacities:
            report.add(Kind.EFFECT_MISSING, f"seller {seller}", f"capacity {found}, written last {capacities}")
        report.count("capacities")
    absences = Counter((row["seller_id"], row["note"]) for row in books["time_off"])
    for request in books.sent("absence"):
        for seller in request.intent["sellers"]:
            found_ones = absences[seller, request.id]
            if found_ones > 1:
                report.add(Kind.EFFECT_TWICE, f"request {request.id}", f"{found_ones} absences of seller {seller}")
            elif request.accepted and not found_ones:
                report.add(Kind.EFFECT_MISSING, f"request {request.id}", f"no absence of seller {seller}")
            report.count("effects")
    changes = Counter(row["actor"] for row in books["config_changes"])
    for request in books.sent("config"):
        expected = request.result.get("changes", 0) if request.accepted else None
        if expected is not None and changes[request.id] != expected:
            kind = Kind.EFFECT_MISSING if changes[request.id] < expected else Kind.EFFECT_TWICE
            report.add(kind, f"request {request.id}", f"{changes[request.id]} changes of configuration, not {expected}")
        report.count("effects")


def check_followers(books: Books, report: Report) -> None:
    """Every follower heard what it follows, from where it began on, in order; only repeats after a reconnection are allowed."""
    by_seller = by((n for n in books["notices"] if n["seller_id"] in {f.seller for f in books.followers.values()}), "seller_id")
    events = {event["number"]: event for event in books["events"]}
    for follower in books.followers.values():
        expected: dict[int, tuple[str, str]] = {}
        if follower.seller:
            notices = [n for n in by_seller.get(follower.seller, []) if n["number"] > follower.after]
            expected = {n["number"]: (n["kind"], events[n["number"]]["record_id"] if n["body"] is None else "") for n in notices}
        else:
            wanted = [e for e in books["events"] if e["number"] > follower.after and _takes(follower.wanted, e)]
            expected = {e["number"]: (e["kind"], e["record_id"]) for e in wanted}
        _follow(follower, expected, report, settled=books.settled)
        report.count("followers")
        report.count("messages to followers", len(follower.heard))
        report.count("connections of followers", len({connection for connection, *_ in follower.heard}))


def _takes(wanted: Row, event: Row) -> bool:
    """Tell whether a filter takes an event: by kind, by record, by segment before or after, by change of owner."""
    if wanted.get("kinds") and event["kind"] not in wanted["kinds"]:
        return False
    if wanted.get("record_ids") and event["record_id"] not in wanted["record_ids"]:
        return False
    if wanted.get("owner_changed") and owner_in(event["before"]) == owner_in(event["after"]):
        return False
    segments = {(state or {}).get("segment_id", "") for state in (event["before"], event["after"]) if state is not None}
    return not wanted.get("segment_ids") or bool(segments & set(wanted["segment_ids"]))


def _follow(follower: Follower, expected: dict[int, tuple[str, str]], report: Report, *, settled: bool) -> None:
    subject, highest = f"follower {follower.name}", follower.after
    last_in: dict[int, int] = {}
    got: set[int] = set()
    for connection, number, kind, record in follower.heard:
        if number <= last_in.get(connection, 0) or (number < highest and number not in got):
            report.add(Kind.OUT_OF_ORDER, subject, f"event {number} came after event {highest} on connection {connection}")
        if expected.get(number) != (kind, record):
            report.add(Kind.NOT_IN_LOG, subject, f"event {number} {kind} of record {record}; the log has {expected.get(number)}")
        last_in[connection], highest = number, max(highest, number)
        got.add(number)
    missed = [number for number in expected if number not in got and (settled or number < highest)]
    if missed:
        kind, record = expected[missed[0]]
        evidence = f"{len(missed)} of {len(expected)} events, the first is {missed[0]} {kind} of record {record}"
        report.add(Kind.NOT_DELIVERED, subject, evidence)


def _json(text: str) -> Row:
    return dict(json.loads(text))
