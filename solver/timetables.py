"""Timetables: when somebody who works on from now has worked how much. Whole weeks ahead; after that the weeks repeat."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reallot.solver.calendars import DAY_US, Calendar, Intervals, working_intervals

AHEAD_US, REPEATED_US = 56 * DAY_US, 28 * DAY_US
"""What is looked at, and the last part of it, which repeats."""
MOST_ROUNDS = 100_000
"""How often the last weeks repeat at most: thousands of years."""
NEVER = 2**62
"""Stands for an instant that does not come."""


@dataclass(frozen=True)
class Timetables:
    """The working time of m people, those who work alike sharing a table.

    Attributes:
        table: Table of each: int64, shape (m,).
        begin_us: When each interval of a table begins, from now: int64, tables one after the other, an unworked one last in each.
        done_us: Working time before each interval, and `AHEAD_US` + 1 more from table to table: int64, ascending.
        total_us: Working time of each table: int64, shape (tables,).
        early_us: That before the part that repeats: int64, shape (tables,).
    """

    table: Intervals
    begin_us: Intervals
    done_us: Intervals
    total_us: Intervals
    early_us: Intervals

    @staticmethod
    def of(calendars: Sequence[Calendar | None], now_us: int) -> "Timetables":
        """Look at calendars from an instant on; None = always at work."""
        numbers: dict[Calendar, int] = {}
        table = [numbers.setdefault(calendar or Calendar(), len(numbers)) for calendar in calendars]
        begin, done, total, early = [], [], [], []
        for number, calendar in enumerate(numbers):
            worked = working_intervals(calendar, now_us, now_us + AHEAD_US) - now_us
            before = np.concatenate([[0], np.cumsum(worked[:, 1] - worked[:, 0])])
            begin.append(np.append(worked[:, 0], AHEAD_US))
            done.append(before + number * (AHEAD_US + 1))
            total.append(int(before[-1]))
            repeated = np.clip(worked, AHEAD_US - REPEATED_US, AHEAD_US)
            early.append(int(before[-1]) - int((repeated[:, 1] - repeated[:, 0]).sum()))
        columns = (np.array(column, dtype=np.int64) for column in (total, early))
        joined = [np.concatenate(column).astype(np.int64) if column else np.zeros(0, dtype=np.int64) for column in (begin, done)]
        return Timetables(np.array(table, dtype=np.int64), *joined, *columns)

    def instant(self, who: Intervals, worked_us: Intervals) -> Intervals:
        """Return when each has worked so long and is at work: int64, from now, `NEVER` if that does not come; all of one shape."""
        table = self.table[who]
        total, early = self.total_us[table], self.early_us[table]
        cycle = np.maximum(total - early, 1)
        beyond = worked_us - total
        rounds = np.where(beyond >= 0, np.minimum(beyond // cycle, MOST_ROUNDS) + 1, 0)
        within = np.where(beyond >= 0, early + beyond % cycle, worked_us)
        row = np.searchsorted(self.done_us, within + table * (AHEAD_US + 1), side="right") - 1
        found = self.begin_us[row] + within + table * (AHEAD_US + 1) - self.done_us[row] + rounds * REPEATED_US
        instant: Intervals = np.where((beyond >= 0) & (total == early) | (rounds > MOST_ROUNDS), NEVER, found)
        return instant
