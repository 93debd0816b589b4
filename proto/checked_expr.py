"""Write the descriptor of `cel.expr.CheckedExpr` for reallot.solver.segmentation.checked.

It needs xds-protos 1.81.1, in an environment of its own: that package brings modules of OpenTelemetry, too, and would put old ones in the
place of those that traces are sent with.
"""

from pathlib import Path

from cel.expr import checked_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor

TARGET = Path(__file__).parents[1] / "solver" / "segmentation" / "checked.binpb"


def collect(file: FileDescriptor, found: dict[str, descriptor_pb2.FileDescriptorProto]) -> None:
    """Add a file after all it depends on."""
    if file.name not in found:
        for dependency in file.dependencies:
            collect(dependency, found)
        found[file.name] = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(found[file.name])


if __name__ == "__main__":
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    collect(checked_pb2.DESCRIPTOR, files)
    TARGET.write_bytes(descriptor_pb2.FileDescriptorSet(file=files.values()).SerializeToString(deterministic=True))
