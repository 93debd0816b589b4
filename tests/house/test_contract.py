"""What must know every call of the contract does: who may make it, whether it is an act of the audit log, what is tried with all."""

import re
from pathlib import Path

from grpc_channelz.v1 import channelz_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from reallot.server.access.roles import RULES
from reallot.server.app import SERVICE_NAMES
from reallot.testing.v1 import clock_service_pb2
from support.contract import methods_of_the_contract, mutating

PROTO = Path(__file__).parents[2] / "proto" / "reallot" / "v1"
BESIDE = (clock_service_pb2, health_pb2, reflection_pb2, channelz_pb2)
"""Services that the server answers beside those of the contract."""
NO_ACTS = {
    "UpsertRecords": "what a CRM writes stands in the record's own log, and the events tell it",
    "ImportRecords": "as UpsertRecords",
    "Acknowledge": "what somebody has read is no decision",
    "Solve": "nothing is stored",
    "CheckPlan": "nothing is stored",
}
"""Calls that may write, or send much, and are no acts; why."""


def test_no_call_of_the_files_is_left_out_of_what_is_tried_with_all() -> None:
    declared = [name for file in PROTO.glob("*.proto") for name in re.findall(r"^  rpc (\w+)\(", file.read_text(), re.MULTILINE)]
    assert sorted(method.name for method in methods_of_the_contract()) == sorted(declared)
    assert {method.containing_service.full_name for method in methods_of_the_contract()} == set(SERVICE_NAMES)


def test_every_call_has_a_row_in_the_table_of_roles_and_no_other_has() -> None:
    beside = [method for module in BESIDE for service in module.DESCRIPTOR.services_by_name.values() for method in service.methods]
    assert set(RULES) == {f"/{method.containing_service.full_name}/{method.name}" for method in (*methods_of_the_contract(), *beside)}


def test_every_call_that_may_write_is_an_act_or_says_why_it_is_none() -> None:
    may_write = {method.name for method in methods_of_the_contract() if mutating(method)}
    acts = {path.rpartition("/")[2] for path, rule in RULES.items() if rule.acts}
    assert may_write - NO_ACTS.keys() == acts
