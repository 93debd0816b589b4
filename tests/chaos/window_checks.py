"""Rolling windows: what sellers were given, recounted along the log, held to what the windows allow and to what is kept of it.

A record counts from when it comes to a seller who did not have it, owned, offered or claimed; what was offered or claimed and is not
accepted counts no more. Windows are those of the sellers' rows: nobody changes them in a history.
"""

import itertools
import json
from collections import defaultdict
from dataclasses import dataclass, field

from chaos.books import Books, Row, owner_in
from chaos.capacity_checks import Rules
from chaos.findings import Kind, Report

Key = tuple[int, str, str]
"""Instant, record type, segment."""


@dataclass
class Given:
    """What one seller was given, and what of it is only held so far, by record."""

    effort: defaultdict[Key, int] = field(default_factory=lambda: defaultdict(int))
    held: dict[str, tuple[Key, int]] = field(default_factory=dict)

    def within(self, window: Row, time_us: int) -> int:
        """Return what stands in a window at an instant."""
        since_us = time_us - window["duration_us"]
        return sum(
            effort
            for (at_us, record_type, segment), effort in self.effort.items()
            if at_us > since_us and window.get("record_type", "") in ("", record_type) and window.get("segment_id", "") in ("", segment)
        )


def check_windows(books: Books, report: Report) -> None:
    """After no transaction stands more in a window than it allows, unless nothing bound it, and what is kept is what the log says."""
    capacities = {row["seller_id"]: json.loads(row["capacity"]) for row in books["sellers"]}
    windows = {seller: capacity["windows"] for seller, capacity in capacities.items() if capacity.get("windows")}
    if not windows or (books["events"] and books["events"][0]["number"] != 1):
        return
    rules, given = Rules(books), {seller: Given() for seller in windows}
    for _, group in itertools.groupby(books["events"], key=lambda event: event["time_us"]):
        bound, unbound = dict[str, Row](), defaultdict[str, int](int)
        for event in group:
            taker = _note(rules, given, event)
            if taker and rules.binds(event):
                bound[taker] = event
            elif taker:
                unbound[taker] += rules.effort(event)
        for seller, event in bound.items():
            for window in windows[seller]:
                stands = given[seller].within(window, event["time_us"]) - unbound[seller]
                report.count("assignments within a window")
                if stands > window["count"]:
                    evidence = f"event {event['number']} leaves {stands} in a window of {window['count']}"
                    report.add(Kind.ABOVE_WINDOW, f"seller {seller}", evidence)
    _hold_to_rows(books, report, windows, given)


def _note(rules: Rules, given: dict[str, Given], event: Row) -> str:
    """Count what an event gives and takes back; return the seller with windows who is given the record by it, "" = none."""
    record_id, before, after = event["record_id"], _holder(event["before"]), _holder(event["after"])
    quiet = (event["cause"] or {}).get("quiet")
    if before in given and before != after and (found := given[before].held.pop(record_id, None)) is not None:
        key, effort = found
        given[before].effort[key] -= effort
    if after not in given:
        return ""
    own = owner_in(event["after"])[0] == "SELLER"
    if after == before:
        if own:
            given[after].held.pop(record_id, None)
        return ""
    # What is reopened its owner had before.
    if quiet or (own and owner_in(event["before"]) == owner_in(event["after"])):
        return ""
    key, effort = (event["time_us"], event["record_type"], event["after"].get("segment_id", "")), rules.effort(event)
    given[after].effort[key] += effort
    if not own:
        given[after].held[record_id] = (key, effort)
    return after


def _holder(state: Row | None) -> str:
    if state is None or not state["active"]:
        return ""
    kind, name = owner_in(state)
    return name if kind == "SELLER" else str(state.get("offered_seller_id", ""))


def _hold_to_rows(books: Books, report: Report, windows: dict[str, list[Row]], given: dict[str, Given]) -> None:
    """Hold the rows of gains to the recount, as far as a window can still reach them."""
    last_us = books["events"][-1]["time_us"] if books["events"] else 0
    stored: defaultdict[str, dict[Key, int]] = defaultdict(dict)
    for row in books["gains"]:
        stored[row["seller_id"]][row["time_us"], row["record_type"], row["segment_id"]] = row["effort"]
    for seller, own in windows.items():
        since_us = last_us - max(window["duration_us"] for window in own)
        counted = {key: effort for key, effort in given[seller].effort.items() if key[0] > since_us and effort}
        kept = {key: effort for key, effort in stored[seller].items() if key[0] > since_us}
        report.count("gains", len(counted))
        if counted != kept:
            report.add(Kind.WINDOW_WRONG, f"seller {seller}", f"kept are {kept}, the log says {counted}")
