"""What Apply holds teams and queues to, and the rules that give to them."""

from collections.abc import Iterator
from typing import Any

from reallot.server.convert.values import to_stored
from reallot.server.group_config import GROUP_KINDS
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage.entities import Owner
from reallot.v1 import segment_pb2

_PLAIN_POLICIES = (segment_pb2.POLICY_UNSPECIFIED, segment_pb2.POLICY_ROUND_ROBIN)
_ABOUT_SELLERS = ("preferred", "relax", "score", "available_within", "handling_minutes", "offer", "exclusions", "sticky")
"""Parts of a rule that say something about sellers."""


def attribute_faults(config: WorkspaceConfig, kind: str, message: Any) -> Iterator[tuple[str, str, str]]:
    """Yield path, text and reason of every value of a team or queue that the settings do not declare so."""
    declared = config.group_schemas[kind].by_id
    for name in sorted(message.attributes):
        path = f"attributes.{name}"
        if name not in declared or name == f"{kind}_id":
            yield path, f"{name!r} is not declared in the settings' {kind}_fields", "UNKNOWN_FIELD"
            continue
        try:
            to_stored(message.attributes[name], declared[name].type)
        except ValueError as error:
            yield path, str(error), "WRONG_TYPE"


def group_target_faults(config: WorkspaceConfig, rule: segment_pb2.Rule) -> Iterator[tuple[str, str, str]]:
    """Yield path, text and reason of what is wrong with a rule that gives to teams or queues; nothing for one that gives to sellers."""
    kind = rule.target.WhichOneof("kind")
    if kind not in GROUP_KINDS:
        return
    target, path = getattr(rule.target, kind), f"target.{kind}"
    listed = list(getattr(target, f"{kind}_ids"))
    if bool(listed) == bool(target.matching):
        yield path, f"either list {kind}s or say which match", "INVALID_FIELD"
    for index, name in enumerate(listed):
        place = f"{path}.{kind}_ids[{index}]"
        if config.find(kind, name) is None:
            yield place, f"{kind} {name!r} does not exist", "UNKNOWN_REFERENCE"
        elif name in listed[:index]:
            yield place, f"{kind} {name!r} comes twice", "INVALID_FIELD"
    told = f"it is about sellers, and this rule gives to {kind}s"
    given = {field.name for field, _ in rule.ListFields()}
    yield from ((name, told, "INVALID_FIELD") for name in _ABOUT_SELLERS if name in given)
    if rule.policy not in _PLAIN_POLICIES:
        yield "policy", told, "INVALID_FIELD"
    if rule.HasField("use_capacity") and rule.use_capacity:
        yield "use_capacity", told, "INVALID_FIELD"


def group_fault(config: WorkspaceConfig, owner: Owner) -> tuple[str, str] | None:
    """Return text and reason of what keeps a team or queue from being given records; None if nothing does."""
    kind = owner.kind.lower()
    if config.find(kind, owner.id) is None:
        return f"{kind} {owner.id!r} does not exist", "UNKNOWN_REFERENCE"
    if not config.takes_records(kind, owner.id):
        return f"{kind} {owner.id!r} is not active: it is given nothing", "INVALID_FIELD"
    return None
