"""What goes along when configuration goes: rules of a deleted segment, and readers of a field that leaves its schema. Pure."""

from collections.abc import Iterator, Mapping

from reallot.server.errors import ApiError, failed_precondition
from reallot.server.workspace_config import WorkspaceConfig, is_active, is_of_schema, rule_of
from reallot.v1 import config_pb2, segment_pb2

LONGEST_ID = 100
Resources = dict[tuple[str, str], config_pb2.ConfigResource]


def without(config: WorkspaceConfig, kind: str, name: str) -> Resources:
    """Return what else changes when a resource is deleted: the default segment, to which the rules of a segment go.

    They come behind its own, in their order. Those of a segment that took no part come paused: they decided nothing.

    Raises:
        ApiError: it is the default segment of a record type.
    """
    if kind != "segment":
        return {}
    gone = config.find(kind, name)
    if gone.is_default:
        raise _default_segment(name)
    heir = next((s for s in config.all("segment") if s.is_default and is_active(s.state) and s.record_type == gone.record_type), None)
    if heir is None or not gone.rules:
        return {}
    changed = config_pb2.ConfigResource(segment=heir)
    for rule in gone.rules:
        fallen = changed.segment.rules.add()
        fallen.CopyFrom(rule)
        fallen.rule_id = _free_id(rule.rule_id, name, {r.rule_id for r in changed.segment.rules[:-1]})
        if not is_active(gone.state) and is_active(rule.state):
            fallen.state = segment_pb2.RESOURCE_STATE_PAUSED
    return {("segment", heir.segment_id): changed}


def _default_segment(name: str) -> ApiError:
    text = f"segment {name!r} is the default segment of its record type: apply another in its place"
    return failed_precondition("DEFAULT_SEGMENT", text, segment=name)


def _free_id(rule_id: str, segment_id: str, taken: set[str]) -> str:
    return next(name for name in _names(rule_id, segment_id) if name not in taken)


def _names(rule_id: str, segment_id: str) -> Iterator[str]:
    yield rule_id
    yield f"{segment_id}.{rule_id}"[:LONGEST_ID]
    number = 2
    while True:
        tail = f".{number}"
        yield rule_id[: LONGEST_ID - len(tail)] + tail
        number += 1


def readers_out_of_use(config: WorkspaceConfig, given: Mapping[tuple[str, str], object]) -> Resources:
    """Return what reads fields that are not declared any more, taken out of use: whole, or of a segment only the rules that do.

    What is `given` in the request is left out: it is to be right.
    """
    found: Resources = {}
    for fault in config.faults:
        key = (fault.kind, fault.resource)
        if key in given or not is_of_schema(fault):
            continue
        if key not in found:
            found[key] = config_pb2.ConfigResource()
            found[key].CopyFrom(config.resources[key])
        message = getattr(found[key], fault.kind)
        index = rule_of(fault)
        (message if index is None else message.rules[index]).state = segment_pb2.RESOURCE_STATE_INACTIVE
    return found
