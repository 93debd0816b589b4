"""What the contract can say in a configuration but this version does not do. Applying it is refused by name: nothing is ignored."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Unserved:
    """A field that is refused when set. `[]` stands for every item of a list."""

    kind: str
    path: str
    feature: str


UNSERVED = (
    Unserved("sequence", "steps[].wait.working_time", "waits in working time"),
    Unserved("sequence", "steps[].condition", "forks in sequences"),
    Unserved("sequence", "steps[].advance", "going on with another sequence"),
    Unserved("sequence", "steps[].update_field", "field updates in sequences"),
    Unserved("sequence", "exit_when", "conditions that end an enrollment"),
    Unserved("sequence", "exit_on_outcomes", "outcomes that end an enrollment"),
    Unserved("sequence", "on_owner_change", "open steps on a change of the owner"),
    Unserved("sequence", "on_move", "open steps on a move"),
)
"""Everything of the configuration that is refused."""


def unserved(kind: str, body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield path and feature of everything in a resource's JSON document that this version does not serve."""
    for row in UNSERVED:
        if row.kind == kind:
            for path in _found(body, row.path.split("."), ""):
                yield path, row.feature


def _found(document: Any, parts: list[str], path: str) -> Iterator[str]:
    if not parts:
        yield path
        return
    name = re.sub(r"\[\]$", "", parts[0])
    if name not in document:
        return
    place = f"{path}.{name}" if path else name
    if parts[0] == name:
        yield from _found(document[name], parts[1:], place)
    else:
        for index, item in enumerate(document[name]):
            yield from _found(item, parts[1:], f"{place}[{index}]")
