"""The questions that can be asked, by name. Runs in a process of its own, on a snapshot."""

from collections.abc import Callable
from typing import Any

from reallot.server.answers.comparing import compare, what_if
from reallot.server.answers.desk import Question
from reallot.server.answers.explaining import explain_record, explain_seller
from reallot.server.answers.rebalance import frontier_of
from reallot.server.answers.replay import replay
from reallot.server.answers.worth import worth_of_slots
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction
from reallot.v1 import assignment_service_pb2, insight_service_pb2

_ANSWERS: dict[str, tuple[Any, Callable[[ReadTransaction, WorkspaceConfig, Any, int], Any]]] = {
    "record": (insight_service_pb2.ExplainRecordRequest, explain_record),
    "seller": (insight_service_pb2.ExplainSellerRequest, explain_seller),
    "frontier": (insight_service_pb2.GetFrontierRequest, frontier_of),
    "replay": (assignment_service_pb2.ReplayRunRequest, replay),
    "what_if": (insight_service_pb2.WhatIfRequest, what_if),
    "compare": (insight_service_pb2.CompareRequest, compare),
    "worth": (insight_service_pb2.GetWorthRequest, worth_of_slots),
}
"""Kind of request and what answers it, given the instant."""


def answered(tx: ReadTransaction, config: WorkspaceConfig, question: Question) -> bytes:
    """Return the answer to a question as a serialised message.

    Raises:
        ApiError: it cannot be answered.
    """
    kind, answer = _ANSWERS[question.name]
    found: bytes = answer(tx, config, kind.FromString(question.request), question.now_us).SerializeToString()
    return found
