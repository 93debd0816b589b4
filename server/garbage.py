"""How often Python looks for garbage in cycles.

A commit and a plan make tuples and dicts by the hundred thousand, few of them in cycles. With Python's own threshold of 700 they are
looked through again and again, and all the modules of the program with them.
"""

import gc

YOUNG = 50_000
"""New containers, less those that were freed, after which the young ones are looked through: a few milliseconds."""


def collect_seldom() -> None:
    """Leave out for good what is loaded by now, and look through the rest seldom; for the whole process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 10, 10)
