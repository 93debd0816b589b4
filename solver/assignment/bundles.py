"""Records that go together: all of them to one seller, or none of them to anybody."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from reallot.solver.assignment.problem import Ints, Problem
from reallot.solver.assignment.result import Solution


class Bundles:
    """The bundles of a problem: sets of two or more records with the same number in `Problem.together`. Thread-safe once built."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.of: Ints = _numbered(problem.together) if len(problem.together) else np.full(problem.records, -1, dtype=np.int64)
        """Bundle of each record, -1 = it goes alone: int64, shape (n,)."""

    @cached_property
    def members(self) -> Sequence[npt.NDArray[np.int64]]:
        """The records of each bundle, the most urgent first."""
        urgency = self._problem.urgency()
        bundled = urgency[self.of[urgency] >= 0]
        order = bundled[np.argsort(self.of[bundled], kind="stable")]
        return np.split(order, np.flatnonzero(np.diff(self.of[order])) + 1) if len(order) else []

    @cached_property
    def sellers(self) -> Sequence[frozenset[int]]:
        """The sellers whom all records of each bundle may go to."""
        problem, found = self._problem, []
        options = np.split(problem.option_seller, problem.option_start[1:-1])
        of_class = [frozenset(part.tolist()) for part in options] if problem.classes else []
        for members in self.members:
            classes = np.unique(problem.class_of[members]).tolist()
            found.append(frozenset.intersection(*(of_class[kind] for kind in classes)))
        return found

    def broken(self, option_of: Ints) -> Iterator[int]:
        """Yield the bundles that a plan does not place whole, with one seller, or not at all."""
        seller = np.where(option_of >= 0, np.append(self._problem.option_seller, -1)[option_of], -1)
        for bundle, members in enumerate(self.members):
            if len(np.unique(seller[members])) > 1:
                yield bundle


def _numbered(together: Ints) -> Ints:
    """Return consecutive numbers for those numbers from 0 on that several records have, -1 for all others."""
    number, of, sizes = np.unique(together, return_inverse=True, return_counts=True)
    kept = (number >= 0) & (sizes > 1)
    numbered: Ints = np.where(kept, np.cumsum(kept) - 1, -1)[of.reshape(-1)]
    return numbered


def most_urgent(problem: Problem, solution: Solution, limit: int) -> tuple[Ints, Ints]:
    """Return the most urgent of the records that a plan places, at most `limit`, and the others of them; bundles stay whole."""
    bundles, urgency = Bundles(problem), problem.urgency()
    covered = urgency[solution.assigned[urgency]]
    if not len(problem.together):
        return np.sort(covered[:limit]), covered[limit:]
    kept: list[int] = []
    settled: set[int] = set()
    for record in covered.tolist():
        bundle = int(bundles.of[record])
        members = [record] if bundle < 0 else bundles.members[bundle].tolist() if bundle not in settled else []
        settled.update([bundle] if bundle >= 0 else [])
        if len(kept) + len(members) <= limit:
            kept.extend(members)
    return np.sort(np.array(kept, dtype=np.int64)), covered[~np.isin(covered, kept)]
