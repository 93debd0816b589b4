"""The contract as its files say: every call there is, so that none is left out of what is tried with all."""

import importlib
import pkgutil
from collections.abc import Iterator

from google.protobuf.descriptor import MethodDescriptor

import reallot.v1


def methods_of_the_contract() -> Iterator[MethodDescriptor]:
    """Yield every call of `reallot.v1`, by the file in which it stands."""
    for module in sorted(found.name for found in pkgutil.iter_modules(reallot.v1.__path__)):
        if module.endswith("_pb2"):
            for service in importlib.import_module(f"reallot.v1.{module}").DESCRIPTOR.services_by_name.values():
                yield from service.methods


def mutating(method: MethodDescriptor) -> bool:
    """Tell whether a call may write: it may be repeated under a `request_id`, or sends what is to be stored."""
    return "request_id" in method.input_type.fields_by_name or method.client_streaming
