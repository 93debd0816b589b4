"""Versions of sequences, compiled: what an enrollment goes by. Faults are told to whoever compiles; a stored version has none of its own,
but a schema that has changed since may no longer declare what it reads.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from google.protobuf import json_format

from reallot.server.convert.values import to_stored
from reallot.server.languages.saying import say
from reallot.solver.segmentation import Condition, ConditionError, Schema, compile_condition
from reallot.storage.entities import Json
from reallot.v1 import config_pb2

HUMAN = frozenset({"email", "call", "task", "text_message", "linked_in"})
"""Kinds of steps that somebody does; the server does the others."""
AT_ONCE = frozenset({"condition", "advance", "update_field"})
"""Kinds of steps that may take no time."""
KEEP, HAND_OVER, CANCEL = (
    config_pb2.OPEN_STEP_POLICY_KEEP,
    config_pb2.OPEN_STEP_POLICY_HAND_OVER,
    config_pb2.OPEN_STEP_POLICY_CANCEL,
)
_KINDS = {
    "email": say("email"),
    "call": say("call"),
    "task": say("task"),
    "text_message": say("text_message"),
    "linked_in": say("linked_in"),
}

Fault = Callable[[str, str, str], None]
"""Takes path, text and reason of a fault."""


def kind_of_step(step: config_pb2.Step) -> str:
    """Return what kind of step it is, e.g. "email"; "" for none."""
    return step.WhichOneof("kind") or ""


def step_name(step: config_pb2.Step) -> str:
    """Return what a step is called in sentences."""
    return step.display_name or _KINDS.get(kind_of_step(step), step.step_id)


@dataclass(frozen=True)
class SequenceConfig:
    """A version of a sequence.

    Attributes:
        message: As configured.
        exits: Conditions of which each ends an enrollment.
        forks: Conditions of its forks, by number of the step, from 1.
        values: Stored values that its updates write, by number of the step.
    """

    message: config_pb2.Sequence
    exits: tuple[Condition, ...] = ()
    forks: Mapping[int, Condition] = field(default_factory=dict)
    values: Mapping[int, Json] = field(default_factory=dict)

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """Number of each step by its id."""
        return {step.step_id: number for number, step in enumerate(self.message.steps, 1)}

    @cached_property
    def exit_fields(self) -> frozenset[str]:
        """Fields that its exits read."""
        return frozenset(name for condition in self.exits for name in condition.fields("record"))

    @cached_property
    def fork_fields(self) -> frozenset[str]:
        """Fields that its forks read."""
        return frozenset(name for condition in self.forks.values() for name in condition.fields("record"))

    def step(self, number: int) -> config_pb2.Step | None:
        """Return a step by its number; None after the last."""
        return self.message.steps[number - 1] if 1 <= number <= len(self.message.steps) else None


def compile_sequence(message: config_pb2.Sequence, schema: Schema, fault: Fault) -> SequenceConfig:
    """Compile a sequence over its records' schema; what cannot be compiled is told to `fault` and left out."""
    exits = [_condition(text, schema, f"exit_when[{i}]", fault, timed=True) for i, text in enumerate(message.exit_when)]
    forks, values = {}, {}
    for number, step in enumerate(message.steps, 1):
        path = f"steps[{number - 1}]"
        if step.WhichOneof("kind") == "condition" and step.condition.condition:
            timed = step.condition.HasField("time_limit")
            forks[number] = _condition(step.condition.condition, schema, f"{path}.condition.condition", fault, timed=timed)
        if step.WhichOneof("kind") == "update_field":
            for value in _value(step.update_field, schema, f"{path}.update_field", fault):
                values[number] = value
    compiled = {number: condition for number, condition in forks.items() if condition is not None}
    return SequenceConfig(message, tuple(c for c in exits if c is not None), compiled, values)


@lru_cache(maxsize=5_000)
def _compiled(text: str, schema: Schema) -> Condition:
    return compile_condition(text, {"record": schema})


def _condition(text: str, schema: Schema, path: str, fault: Fault, *, timed: bool) -> Condition | None:
    try:
        condition = _compiled(text, schema)
    except ConditionError as error:
        fault(path, str(error), "CONDITION_INVALID")
        return None
    if timed and condition.uses_now:
        fault(path, "it is looked at when the record changes, so it cannot read the clock", "CONDITION_INVALID")
    return condition


def _value(update: config_pb2.UpdateFieldStep, schema: Schema, path: str, fault: Fault) -> Iterator[Json]:
    declared = schema.by_id.get(update.field_id)
    if declared is None:
        fault(f"{path}.field_id", f"field {update.field_id!r} is not declared", "UNKNOWN_FIELD")
        return
    try:
        yield to_stored(update.value, declared.type)
    except ValueError as error:
        fault(f"{path}.value", str(error), "WRONG_TYPE")


def stored_sequence(body: Json, schema: Schema) -> SequenceConfig:
    """Return a stored version, compiled.

    Raises:
        ValueError: it reads or writes what the schema does not declare; the text names it.
    """
    faults: list[str] = []
    message = json_format.ParseDict(body, config_pb2.Sequence())
    compiled = compile_sequence(message, schema, lambda path, text, _reason: faults.append(f"{path}: {text}"))
    if faults:
        raise ValueError(f"sequence {message.sequence_id!r}: {'; '.join(faults)}")
    return compiled
