"""Messages as Hypothesis makes them from descriptors, so that one that fails is reduced to what it needs to fail."""

from functools import cache
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from fuzz.mutations import BOUNDS, DECIMAL, TEXTS, WHOLE

DEEPEST = 4
_KINDS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats() | st.sampled_from(DECIMAL),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
}


@cache
def _scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    kind = field.cpp_type
    if kind in BOUNDS:
        lowest, highest = BOUNDS[kind]
        return st.integers(lowest, highest) | st.sampled_from([number for number in WHOLE if lowest <= number <= highest])
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return st.sampled_from([*(value.number for value in field.enum_type.values), 99])
    if kind in _KINDS:
        return _KINDS[kind]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=40)
    return st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor, depth: int = 0) -> Message:
    """Give a message with a few of its fields set, to what may stand there or not."""
    message = message_factory.GetMessageClass(descriptor)()
    fields = [field for field in descriptor.fields if depth < DEEPEST or field.message_type is None]
    if not fields:
        return message
    for field in draw(st.lists(st.sampled_from(fields), max_size=5 if depth < 2 else 2, unique_by=lambda found: found.name)):
        entry, target = field.message_type, getattr(message, field.name)
        if entry is not None and entry.GetOptions().map_entry:
            key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
            for name in draw(st.lists(_scalars(key), max_size=2)):
                if value.message_type is None:
                    target[name] = draw(_scalars(value))
                else:
                    target[name].CopyFrom(draw(messages(value.message_type, depth + 1)))
        elif field.is_repeated:
            for _ in range(draw(st.integers(0, 2))):
                target.append(draw(_scalars(field))) if entry is None else target.add().CopyFrom(draw(messages(entry, depth + 1)))
        elif entry is None:
            setattr(message, field.name, draw(_scalars(field)))
        else:
            target.CopyFrom(draw(messages(entry, depth + 1)))
    return message
