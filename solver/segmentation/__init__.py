"""Conditions to segment and rule: CEL checked against a schema and evaluated over columns."""

from reallot.solver.segmentation.condition import Condition, Read, compile_condition
from reallot.solver.segmentation.errors import ConditionError, TooManyPairs
from reallot.solver.segmentation.evaluation import evaluate, first_match, frame_from_json, frame_of
from reallot.solver.segmentation.matching import Matches, match_sellers
from reallot.solver.segmentation.rolling import NEVER, next_change
from reallot.solver.segmentation.schema import EXISTS, Field, FieldType, Schema, field_id_fault, seller_schema

__all__ = [
    "EXISTS",
    "NEVER",
    "Condition",
    "ConditionError",
    "Field",
    "FieldType",
    "Matches",
    "Read",
    "Schema",
    "TooManyPairs",
    "compile_condition",
    "evaluate",
    "field_id_fault",
    "first_match",
    "frame_from_json",
    "frame_of",
    "match_sellers",
    "next_change",
    "seller_schema",
]
