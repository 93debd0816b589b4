"""The message `cel.expr.CheckedExpr`, from a descriptor kept beside this module.

It lives in a descriptor pool of its own, so that it cannot clash with another package that brings the same files. Written by
`proto/checked_expr.py` from xds-protos 1.81.1.
"""

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def _message_class() -> Any:
    files = descriptor_pb2.FileDescriptorSet.FromString((Path(__file__).parent / "checked.binpb").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)  # type: ignore[no-untyped-call]
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("cel.expr.CheckedExpr"))  # type: ignore[no-untyped-call]


CheckedExpr: Any = _message_class()
