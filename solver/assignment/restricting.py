"""A problem in which every record has only the one way that was chosen for it before. Pure."""

from dataclasses import replace

import numpy as np

from reallot.solver.assignment.problem import Ints, Problem

_OPTION_COLUMNS = ("seller", "rank", "bucket", "fit", "scope", "cap", "continuity", "preferred")


def restricted(problem: Problem, seller: Ints, rank: Ints) -> Problem:
    """Return a problem whose records may only go to the seller by the rule's rank that is given for each, or to nobody.

    `seller` and `rank` are int64, shape (n,); a seller of -1 = nobody, and so has a record that has no such option.
    """
    kinds, kind_of = np.unique(np.column_stack([problem.class_of, seller, rank]), axis=0, return_inverse=True)
    options = np.column_stack([problem.class_of_option(), problem.option_seller, problem.option_rank]).astype(np.int64)
    place = {key: index for index, key in reversed(list(enumerate(map(tuple, options.tolist()))))}
    chosen = np.array([place.get(key, -1) for key in map(tuple, kinds.tolist())], dtype=np.int64)
    kept = chosen[chosen >= 0]
    columns = {name: getattr(problem, f"option_{name}") for name in _OPTION_COLUMNS}
    return replace(
        problem,
        class_of=kind_of.reshape(-1).astype(np.int32),
        effort=problem.effort[kinds[:, 0]],
        option_start=np.concatenate([[0], np.cumsum(chosen >= 0)]).astype(np.int64),
        **{f"option_{name}": column[kept] if len(column) else column for name, column in columns.items()},
    )
