"""What a run was planned from, in a form that is kept, and planning it again: the same bytes give the same plan.

What is kept are the columns of the problem with the limits that held, compressed: no code, so that a later version can read it.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any

import numpy as np

from reallot.server.road.outcome import Frame, Given, Solved
from reallot.server.road.rebalancing import rebalanced
from reallot.solver import assignment
from reallot.solver.assignment import Policy, Problem, Scope
from reallot.solver.assignment.problem import Contacts, Holdings, Shares

FORM = 1
"""Version of the kept form."""
STANDINGS = {kind.__name__: kind for kind in (Shares, Contacts, Holdings)}
FAST = 1
"""Level of compression: more would take longer than it saves."""
OWNERS = "owners"


def names_of(record_ids: Sequence[str], takers: Sequence[str]) -> str:
    """Return the hash over names, in their order."""
    return hashlib.sha256(json.dumps([list(record_ids), list(takers)], ensure_ascii=False).encode()).hexdigest()


def solved_of(given: Given, stage: Callable[[str], None] = lambda _: None) -> Solved:
    """Return the plan, held to its limits and checked; `stage` hears when the check begins.

    Raises:
        CheckFailed: the plan did not pass the independent check.
        NotProven: owners are to change of records that take other efforts than 1.
    """
    problem, rows, frame, owners = given
    if frame.rebalances:
        return rebalanced(problem, rows, owners, frame.most_changes)
    solved = Solved(problem, assignment.solve(problem, sequential=frame.sequential), rows)
    if frame.limit and int(solved.solution.assigned.sum()) > frame.limit:
        solved = _limited(solved, frame)
    stage("check")
    assignment.check(solved.problem, solved.solution)
    return solved


def _limited(solved: Solved, frame: Frame) -> Solved:
    """Keep the most urgent, up to the size limit, of the records that can be covered together, and solve for them alone.

    Any part of a coverable set is coverable, so all that are kept get an owner. Those beyond wait for the next run, and so does a bundle
    for which what is left of the limit is too little.
    """
    problem, rows = solved.problem, solved.rows
    kept, beyond = assignment.most_urgent(problem, solved.solution, frame.limit)
    columns = ("class_of", "priority", "age_us", "key", "value", *(("together",) if len(problem.together) else ()))
    only = replace(problem, **{name: getattr(problem, name)[kept] for name in columns})
    solution = assignment.solve(only, sequential=frame.sequential)
    return Solved(only, solution, rows[kept], frozenset(rows[beyond].tolist()))


def digest_of(solved: Solved, frame: Frame) -> str:
    """Return the hash over a plan: who gets which record by which of its rules, and the order of turns."""
    problem, option = solved.problem, solved.solution.option_of
    given = option >= 0
    seller, rank = np.full(len(option), -1, dtype=np.int64), np.full(len(option), -1, dtype=np.int64)
    seller[given], rank[given] = problem.option_seller[option[given]], problem.option_rank[option[given]]
    order = np.argsort(solved.rows, kind="stable")
    found = hashlib.sha256(frame.names.encode())
    for column in (solved.rows[order], seller[order], rank[order], solved.rows[solved.solution.turn_order]):
        found.update(column.astype("<i8").tobytes())
    return found.hexdigest()


def joined_digest(digests: Sequence[str]) -> str:
    """Return the hash over the plans of a run's batches; of one, its own."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def packed(given: Given) -> bytes:
    """Return what a plan was made from."""
    problem, rows, frame, owners = given
    columns: list[tuple[str, Any]] = [("rows", rows), *_columns("", problem)]
    if len(owners):
        columns.append((OWNERS, owners))
    scopes = []
    for index, scope in enumerate(problem.scopes):
        columns += _columns(f"{index}.", scope)
        standing = type(scope.standing).__name__ if scope.standing is not None else ""
        scopes.append({"scope_id": scope.scope_id, "policy": scope.policy.value, "standing": standing})
    parts = [(name, column.dtype.str, len(column)) for name, column in columns]
    head = json.dumps({"form": FORM, "frame": _framed(frame), "scopes": scopes, "columns": parts}).encode()
    body = b"".join(np.ascontiguousarray(column).tobytes() for _, column in columns)
    return zlib.compress(len(head).to_bytes(8, "little") + head + body, FAST)


def _framed(frame: Frame) -> dict[str, Any]:
    """Return a frame without what stands at its default, which earlier versions need not know."""
    return {
        name: value for name, value in frame._asdict().items() if name not in Frame._field_defaults or value != Frame._field_defaults[name]
    }


def _columns(prefix: str, of: Any) -> list[tuple[str, Any]]:
    """Return the columns of something and of its parts; numbers are columns of one."""
    found: list[tuple[str, Any]] = []
    for name, value in ((f"{prefix}{f.name}", getattr(of, f.name)) for f in fields(of)):
        if isinstance(value, np.ndarray):
            found.append((name, value))
        elif isinstance(value, int):
            found.append((name, np.array([value], dtype=np.int64)))
        elif is_dataclass(value):
            found += _columns(f"{name}.", value)
    return found


def _part(kind: Any, prefix: str, columns: dict[str, Any]) -> Any:
    """Return a part of a problem of its columns."""
    values = {}
    for f in fields(kind):
        name = f"{prefix}{f.name}"
        values[f.name] = _part(f.type, f"{name}.", columns) if is_dataclass(f.type) else columns[name]
        if f.type is int:
            values[f.name] = int(values[f.name][0])
    return kind(**values)


def unpacked(content: bytes) -> Given:
    """Return what a plan was made from.

    Raises:
        ValueError: it was kept by a version whose problems this one does not understand.
    """
    plain = zlib.decompress(content)
    size = int.from_bytes(plain[:8], "little")
    head = json.loads(plain[8 : 8 + size])
    if head["form"] != FORM:
        raise ValueError(f"it is kept in form {head['form']}, this version reads form {FORM}")
    columns, at = {}, 8 + size
    for name, kind, length in head["columns"]:
        columns[name] = np.frombuffer(plain, dtype=kind, count=length, offset=at)
        at += columns[name].nbytes
    scopes = []
    for index, named in enumerate(head["scopes"]):
        own = {name.partition(".")[2]: column for name, column in columns.items() if name.startswith(f"{index}.")}
        own = {name: column for name, column in own.items() if "." not in name}
        kind = STANDINGS[named["standing"]] if named["standing"] else None
        standing = _part(kind, f"{index}.standing.", columns) if kind is not None else None
        known = own | {"scope_id": named["scope_id"], "policy": Policy(named["policy"]), "standing": standing}
        scopes.append(Scope(**_known(Scope, known)))
    own = {name: column for name, column in columns.items() if "." not in name and name not in ("rows", OWNERS)}
    problem = Problem(**_known(Problem, own | {"scopes": tuple(scopes)}))
    if unknown := sorted(set(head["frame"]) - set(Frame._fields)):
        raise ValueError(f"its limits have other names than this version knows: {', '.join(unknown)}")
    return Given(problem, columns["rows"], Frame(**head["frame"]), columns.get(OWNERS, np.zeros(0, dtype=np.int64)))


def _known(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    if unknown := sorted((set(values) - names) | (needed - set(values))):
        raise ValueError(f"its problem has other columns than this version knows: {', '.join(unknown)}")
    return values
