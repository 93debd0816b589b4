"""Having local search compiled beforehand.

The first search on a machine has to be compiled, which takes some twenty seconds and is kept on disk from then on; `prepare` does it in
a thread.
"""

import threading
from functools import cache

import numpy as np

from reallot.solver.problems.annealing import Choices, anneal, begin
from reallot.solver.problems.replanning import FIRST_ITEMS, replan


class Preparation:
    """The compilation, under way in a thread."""

    def __init__(self) -> None:
        self._thread = threading.Thread(target=_compile, name="compile", daemon=True)
        self._thread.start()

    def ready(self, wait_s: float) -> bool:
        """Tell whether the search is compiled, after waiting for it so long at most."""
        self._thread.join(max(wait_s, 0))
        return not self._thread.is_alive()


@cache
def prepare() -> Preparation:
    """Have the search compiled, or loaded from disk; once in a process."""
    return Preparation()


def _compile() -> None:
    none = np.zeros((1, 2))
    seller, whole, one = np.array([[0, 1]], dtype=np.int32), np.zeros((1, 2), dtype=np.int64), np.zeros(2, dtype=np.int64)
    choices = Choices(seller, none, whole, whole, np.zeros(1, dtype=np.int32), one, one, np.zeros(2), np.ones(2))
    state = begin(choices, np.zeros(1, dtype=np.int64))
    anneal(choices, state, 1, 1.0, 1.0, 0.5, 0)
    replan(choices, state, 1, 1.0, FIRST_ITEMS, 0)
