"""Who is available now, and from when, for 10,000 sellers with weeks, breaks, public holidays and absences of their own.

The first look computes the holidays of each region for the year; what counts is each look after it. No database is used. Run with
`make bench NAME=calendar`.
"""

import argparse
import json
import random
import time
from statistics import median

from benchmarks.report import Promise, machine, tell
from reallot.solver.calendars import DAY_US, Availability, Calendar, WeeklyHours

MONDAY_US = 1_772_409_600_000_000
"""Monday 2026-03-02 00:00 UTC."""
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Asia/Tokyo", "Australia/Lord_Howe", "Pacific/Apia")
HOLIDAYS = (None, ("DE", "BY"), ("DE", ""), ("US", "CA"), ("JP", ""))
MOST_MS = 100.0


def calendars(sellers: int, seed: int = 1) -> list[Calendar | None]:
    """Return sellers' calendars: a hundred different weeks, everybody with up to three absences."""
    drawn = random.Random(seed)
    weeks = [
        tuple(WeeklyHours(day, begin * 60, begin * 60 + 240) for day in range(5) for begin in (early, early + 5))
        for early in (drawn.randrange(5, 14) for _ in range(100))
    ]
    found: list[Calendar | None] = []
    for _ in range(sellers):
        starts = (MONDAY_US + drawn.randrange(60) * DAY_US // 4 for _ in range(drawn.randrange(4)))
        away = tuple((start, start + drawn.randrange(1, 9) * DAY_US // 4) for start in starts)
        found.append(Calendar(drawn.choice(ZONES), drawn.choice(weeks), (), away, drawn.choice(HOLIDAYS)))
    return found


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sellers", type=int, default=10_000)
    parser.add_argument("--looks", type=int, default=9)
    given = parser.parse_args()
    print(json.dumps({"machine": machine()}), flush=True)
    made = calendars(given.sellers)
    spent, there = [], 0
    for look in range(given.looks + 1):
        now_us = MONDAY_US + look * DAY_US // 4
        start = time.perf_counter()
        found = Availability.of(made, now_us)
        spent.append((time.perf_counter() - start) * 1e3)
        there += int((found.bucket == 0).sum())
    each = round(median(spent[1:]), 1)
    figures = {"sellers": given.sellers, "first_ms": round(spent[0], 1), "each_ms": each, "available": there}
    tell("calendar", "none", figures, [Promise("ms a look", each, MOST_MS, at_most=True)])


if __name__ == "__main__":
    main()
