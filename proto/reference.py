"""The reference of the contract as one page of Markdown, made of the comments in reallot/v1/*.proto."""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

import google.api
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)
from grpc_tools import protoc

_SERVICE, _MESSAGE, _ENUM = 6, 4, 5
_METHOD, _FIELD, _NESTED, _NESTED_ENUM, _VALUE = 2, 2, 3, 4, 2
"""Numbers of the parts in descriptor.proto, of which the places of comments are made."""
_SCALARS = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}

Place = tuple[int, ...]
Comments = Mapping[Place, str]


def reference(root: Path) -> str:
    """Return the page of all services, messages and enums of `reallot.v1` under a folder.

    Raises:
        RuntimeError: the contract cannot be compiled.
    """
    described = _compiled(root)
    lines = ["# The contract", "", "`reallot.v1`, from the comments of its files. Every request has `workspace`; empty = `default`.", ""]
    for file in described:
        comments = {tuple(place.path): _text(place.leading_comments) for place in file.source_code_info.location}
        lines += [line for number, service in enumerate(file.service) for line in _service(service, (_SERVICE, number), comments)]
    for file in described:
        comments = {tuple(place.path): _text(place.leading_comments) for place in file.source_code_info.location}
        lines += [line for number, message in enumerate(file.message_type) for line in _message(message, (_MESSAGE, number), comments)]
        lines += [line for number, enum in enumerate(file.enum_type) for line in _enum(enum, (_ENUM, number), comments)]
    return "\n".join(lines) + "\n"


def _compiled(root: Path) -> list[FileDescriptorProto]:
    sources = sorted(str(path.relative_to(root)) for path in (root / "reallot" / "v1").glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "described.binpb"
        shared = Path(next(iter(google.api.__path__))).parents[1]
        places = [f"-I{root}", f"-I{shared}", f"-I{files('grpc_tools') / '_proto'}"]
        if protoc.main(["protoc", *places, "--include_source_info", f"--descriptor_set_out={out}", *sources]):
            raise RuntimeError(f"the contract under {root} cannot be compiled")
        return list(FileDescriptorSet.FromString(out.read_bytes()).file)


def _text(comment: str) -> str:
    return " ".join(comment.split())


def _service(service: ServiceDescriptorProto, place: Place, comments: Comments) -> Iterator[str]:
    yield from (f"## {service.name}", "", comments.get(place, ""), "", "| call | does |", "|---|---|")
    for number, method in enumerate(service.method):
        yield f"| `{_signature(method)}` | {_cell(comments.get((*place, _METHOD, number), ''))} |"
    yield ""


def _signature(method: MethodDescriptorProto) -> str:
    asked, given = ("stream " * flag for flag in (method.client_streaming, method.server_streaming))
    return f"{method.name}({asked}{_short(method.input_type)}) → {given}{_short(method.output_type)}"


def _message(message: DescriptorProto, place: Place, comments: Comments, inside: str = "") -> Iterator[str]:
    if message.options.map_entry:
        return
    name = inside + message.name
    yield from (f"### {name}", "", comments.get(place, ""), "")
    if message.field:
        yield from ("| field | type | meaning |", "|---|---|---|")
    entries = {f".{nested.name}": nested for nested in message.nested_type if nested.options.map_entry}
    for number, field in enumerate(message.field):
        entry = next((nested for end, nested in entries.items() if field.type_name.endswith(end)), None)
        told = comments.get((*place, _FIELD, number), "")
        choice = (
            f"one of `{message.oneof_decl[field.oneof_index].name}`: "
            if field.HasField("oneof_index") and not field.proto3_optional
            else ""
        )
        yield f"| `{field.name}` | {_type(field, entry)} | {_cell(choice + told)} |"
    yield ""
    for number, nested in enumerate(message.nested_type):
        yield from _message(nested, (*place, _NESTED, number), comments, f"{name}.")
    for number, enum in enumerate(message.enum_type):
        yield from _enum(enum, (*place, _NESTED_ENUM, number), comments, f"{name}.")


def _enum(enum: EnumDescriptorProto, place: Place, comments: Comments, inside: str = "") -> Iterator[str]:
    yield from (f"### {inside}{enum.name}", "", comments.get(place, ""), "", "| value | meaning |", "|---|---|")
    for number, value in enumerate(enum.value):
        yield f"| `{value.name}` | {_cell(comments.get((*place, _VALUE, number), ''))} |"
    yield ""


def _type(field: FieldDescriptorProto, entry: DescriptorProto | None) -> str:
    if entry is not None:
        return f"map of {_type(entry.field[0], None)} to {_type(entry.field[1], None)}"
    name = _short(field.type_name) if field.type_name else _SCALARS[field.type]
    linked = f"[{name}](#{name.replace('.', '').lower()})" if field.type_name.startswith(".reallot.v1.") else f"`{name}`"
    repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
    return f"list of {linked}" if repeated else linked


def _short(name: str) -> str:
    return name.removeprefix(".reallot.v1.").removeprefix(".google.protobuf.").removeprefix(".google.rpc.")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.stdout.write(reference(Path(__file__).parent))
