"""Requirements that fall away: conjuncts of a condition that no longer count from some step on."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from reallot.solver.segmentation.condition import Condition, Conjunct
from reallot.solver.segmentation.errors import ConditionError


def relaxed(condition: Condition, dropped: Sequence[Condition], step: str) -> Condition:
    """Return a condition without its conjunct `dropped[i]` for records whose field `step` is greater than i.

    Raises:
        ConditionError: one of `dropped` is no conjunct of the condition.
    """
    conjuncts = list(condition.conjuncts)
    for index, part in enumerate(dropped):
        place = next((i for i, c in enumerate(condition.conjuncts) if c.column.meta.eq(part.column)), None)
        if place is None:
            raise ConditionError(f"{part.text} is no part of the target that && joins to the rest")
        gone = pl.col(f"record.{step}") > index
        conjuncts[place] = Conjunct(gone | conjuncts[place].column, conjuncts[place].roots | {"record"}, ())
    whole = conjuncts[0].column
    for conjunct in conjuncts[1:]:
        whole = whole & conjunct.column
    return replace(condition, reads=condition.reads | {("record", step)}, column=whole, conjuncts=tuple(conjuncts))
