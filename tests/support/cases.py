"""How many cases property tests try: a fifth in the quick suite, all in the whole suite, ten times as many in `make check-long`."""

import os

PERCENT = int(os.environ.get("REALLOT_CASES_PERCENT", "100"))


def cases(whole: int) -> int:
    """Return how many cases to try where the whole suite tries so many."""
    return max(1, whole * PERCENT // 100)
