"""Conditions to segment and rule: CEL checked against a schema and evaluated over columns."""

from reallot.solver.segmentation.condition import Condition, Conjunct, Read, compile_condition
from reallot.solver.segmentation.errors import ConditionError, TooManyPairs
from reallot.solver.segmentation.evaluation import evaluate, first_match, frame_from_json, frame_of
from reallot.solver.segmentation.matching import Matches, match_listed, match_sellers, only, over_pairs
from reallot.solver.segmentation.number import Number, compile_number
from reallot.solver.segmentation.relaxing import relaxed
from reallot.solver.segmentation.rolling import NEVER, next_change, next_change_among
from reallot.solver.segmentation.schema import EXISTS, Field, FieldType, Schema, field_id_fault, seller_schema

__all__ = [
    "EXISTS",
    "NEVER",
    "Condition",
    "ConditionError",
    "Conjunct",
    "Field",
    "FieldType",
    "Matches",
    "Number",
    "Read",
    "Schema",
    "TooManyPairs",
    "compile_condition",
    "compile_number",
    "evaluate",
    "field_id_fault",
    "first_match",
    "frame_from_json",
    "frame_of",
    "match_listed",
    "match_sellers",
    "next_change",
    "next_change_among",
    "only",
    "over_pairs",
    "relaxed",
    "seller_schema",
]
