"""What a sequence is held to, beyond what its conditions and updates compile to."""

from collections.abc import Iterator

from reallot.server.sequence_config import HUMAN, kind_of_step
from reallot.server.validation import LONGEST_LIST, config_id_fault
from reallot.server.workspace_config import WorkspaceConfig
from reallot.v1 import config_pb2

MOST_STEPS = 200
LONGEST_OUTCOME = 100
Faults = Iterator[tuple[str, str, str]]


def outcome_fault(outcome: str) -> str | None:
    """Return what is wrong with the outcome of a step; None if nothing is."""
    if len(outcome) > LONGEST_OUTCOME:
        return f"an outcome has at most {LONGEST_OUTCOME} characters, this one has {len(outcome)}"
    return None if outcome == outcome.strip() and outcome.isprintable() else "an outcome is one line, without blanks around it"


def sequence_faults(config: WorkspaceConfig, message: config_pb2.Sequence) -> Faults:
    """Yield path, text and reason of every fault of a sequence."""
    if not message.steps:
        yield "steps", "at least one step is needed", "INVALID_FIELD"
    if len(message.steps) > MOST_STEPS:
        yield "steps", f"a sequence has at most {MOST_STEPS} steps", "INVALID_FIELD"
    for path in ("exit_when", "exit_on_outcomes"):
        if len(getattr(message, path)) > LONGEST_LIST:
            yield path, f"at most {LONGEST_LIST} can be listed", "INVALID_FIELD"
    for index, text in enumerate(message.exit_when):
        if not text:
            yield f"exit_when[{index}]", "a condition is needed", "CONDITION_INVALID"
    for index, outcome in enumerate(message.exit_on_outcomes):
        fault = "an outcome is needed" if not outcome else outcome_fault(outcome)
        if fault is not None:
            yield f"exit_on_outcomes[{index}]", fault, "INVALID_FIELD"
    seen: set[str] = set()
    for index, step in enumerate(message.steps):
        if (fault := config_id_fault(step.step_id)) is not None or step.step_id in seen:
            yield f"steps[{index}].step_id", fault or f"{step.step_id!r} comes twice", "INVALID_ID"
        seen.add(step.step_id)
    ids = frozenset(step.step_id for step in message.steps)
    for index, step in enumerate(message.steps):
        for path, text, reason in _step_faults(config, message, step, ids):
            yield f"steps[{index}]{path}", text, reason


def _step_faults(config: WorkspaceConfig, sequence: config_pb2.Sequence, step: config_pb2.Step, ids: frozenset[str]) -> Faults:
    kind = kind_of_step(step)
    if not kind:
        yield "", "a kind of step is needed", "INVALID_FIELD"
    if step.HasField("overdue_after"):
        if kind not in HUMAN:
            yield ".overdue_after", "only what somebody does can be overdue", "INVALID_FIELD"
        elif step.overdue_after.ToNanoseconds() <= 0:
            yield ".overdue_after", "it is positive", "INVALID_FIELD"
    if kind == "wait" and step.wait.duration.ToNanoseconds() <= 0:
        yield ".wait.duration", "it is positive", "INVALID_FIELD"
    if kind == "condition":
        yield from _fork_faults(step.condition, ids)
    if kind == "advance":
        yield from _advance_faults(config, sequence, step.advance)


def _fork_faults(fork: config_pb2.ConditionStep, ids: frozenset[str]) -> Faults:
    if not fork.condition and not fork.outcome:
        yield ".condition.condition", "a condition or an outcome is needed", "CONDITION_INVALID"
    if fork.outcome and (fault := outcome_fault(fork.outcome)) is not None:
        yield ".condition.outcome", fault, "INVALID_FIELD"
    if fork.HasField("time_limit") and fork.time_limit.ToNanoseconds() <= 0:
        yield ".condition.time_limit", "it is positive", "INVALID_FIELD"
    if fork.HasField("time_limit") and not fork.condition:
        yield ".condition.time_limit", "an outcome is known at once: only for a condition is it worth waiting", "INVALID_FIELD"
    if fork.working_time and not fork.HasField("time_limit"):
        yield ".condition.working_time", "without a time limit nothing is counted", "INVALID_FIELD"
    for path, target in (("then_step_id", fork.then_step_id), ("else_step_id", fork.else_step_id)):
        if target and target not in ids:
            yield f".condition.{path}", f"the sequence has no step {target!r}", "UNKNOWN_REFERENCE"


def _advance_faults(config: WorkspaceConfig, sequence: config_pb2.Sequence, advance: config_pb2.AdvanceStep) -> Faults:
    other = config.find("sequence", advance.sequence_id)
    if advance.sequence_id == sequence.sequence_id:
        yield ".advance.sequence_id", "a sequence cannot go on with itself: a fork leads back", "INVALID_FIELD"
    elif other is None:
        yield ".advance.sequence_id", f"sequence {advance.sequence_id!r} does not exist", "UNKNOWN_REFERENCE"
    elif other.record_type != sequence.record_type:
        text = f"sequence {advance.sequence_id!r} is for records of type {other.record_type!r}, not {sequence.record_type!r}"
        yield ".advance.sequence_id", text, "UNKNOWN_REFERENCE"
