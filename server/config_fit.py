"""What Apply holds the parts of a rule to that say how well sellers fit, and which policies need which of them."""

from collections.abc import Iterator

from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.segmentation import FieldType
from reallot.v1 import segment_pb2

MOST_HANDLING_MINUTES = 10_080
_KEYS = (FieldType.TEXT, FieldType.INTEGER)


def fit_faults(config: WorkspaceConfig, record_type: str, rule: segment_pb2.Rule) -> Iterator[tuple[str, str, str]]:
    """Yield path, text and reason of every fault."""
    if rule.policy == segment_pb2.POLICY_BEST_FIT and not rule.score:
        yield "score", "best fit needs a score", "INVALID_FIELD"
    contacts = rule.policy == segment_pb2.POLICY_EARLIEST_FIRST_CONTACT
    if contacts and not 1 <= rule.handling_minutes <= MOST_HANDLING_MINUTES:
        text = f"earliest first contact needs the working minutes that one record takes, 1 to {MOST_HANDLING_MINUTES}"
        yield "handling_minutes", text, "INVALID_FIELD"
    if rule.handling_minutes and not contacts:
        yield "handling_minutes", "only earliest first contact counts how long records take", "INVALID_FIELD"
    if rule.relax and rule.target.WhichOneof("kind") != "matching":
        yield "relax", "only parts of a target's condition can fall away", "INVALID_FIELD"
    for index, part in enumerate(rule.relax):
        if part.after.ToNanoseconds() <= 0:
            yield f"relax[{index}].after", "it is positive", "INVALID_FIELD"
        if not part.drop:
            yield f"relax[{index}].drop", "say which part of the target falls away", "INVALID_FIELD"
    kind = config.record_types.get(record_type)
    if not rule.HasField("sticky") or kind is None:
        return
    by = rule.sticky.by
    declared = kind.schema.by_id.get(by)
    if by != "group_key" and by not in kind.roles and (declared is None or declared.type not in _KEYS):
        yield "sticky.by", f"{by!r} is neither group_key, nor a role, nor a text or whole number of {record_type}", "UNKNOWN_FIELD"
