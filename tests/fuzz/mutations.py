"""Messages that nobody would send: made at random from their descriptors, or good ones with changed bytes or fields. All is seeded."""

import random
from collections.abc import Mapping
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

DEEPEST = 6
TEXTS = (
    *("", "lead", "account", "ann", "bob", "r1", "r2", "big", "rest", "any", "default", "w", "record_id", "fields", "*"),
    *(
        "record.revenue > 1.0",
        'record.country in ["DE"]',
        "empty(record.note)",
        "((((",
        "record.revenue > ",
        "now - duration('9999999d') > now",
    ),
    *("seller.country == record.country", "1 / 0 > 1", "record.revenue > 1e999", "!" * 60 + "true", '"' + "x" * 300 + '" == record.note'),
    *(
        "0 6 * * 1-5",
        "* * * * * *",
        "60 25 32 13 8",
        "Europe/Berlin",
        "Mars/Base",
        "../../etc/passwd",
        "a\x00b",
        "\u202e\ud7ff",
        "𝒜" * 50,
        " x ",
    ),
    *("x" * 201, "x" * 40_000, "records[0].record.owner", "' OR 1=1 --", "%s%n", "{}", "-1", "1e400", "NaN"),
)
WHOLE = (0, 1, -1, 2, 7, 50, 100, 1_000, 1_001, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 253_402_300_799, -62_135_596_800)
DECIMAL = (0.0, -0.0, 1.5, -1.0, 1e308, -1e308, 5e-324, float("inf"), float("-inf"), float("nan"))
BOUNDS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def random_message(descriptor: Descriptor, chance: random.Random, depth: int = 0) -> Message:
    """Return a message with some of its fields set, to what may stand there or not."""
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        # What is sent to a workspace without configuration does not get far.
        if chance.random() < (0.05 if field.name == "workspace" else 0.6 if depth < 2 else 0.35):
            _fill(message, field, chance, depth)
    return message


def _fill(message: Message, field: FieldDescriptor, chance: random.Random, depth: int) -> None:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
        for _ in range(chance.randrange(4)):
            name, target = _scalar(key, chance), getattr(message, field.name)
            if value.message_type is None:
                target[name] = _scalar(value, chance)
            elif depth < DEEPEST:
                target[name].CopyFrom(random_message(value.message_type, chance, depth + 1))
    elif field.is_repeated:
        for _ in range(chance.choice((0, 1, 1, 2, 3))):
            target = getattr(message, field.name)
            if entry is None:
                target.append(_scalar(field, chance))
            elif depth < DEEPEST:
                target.add().CopyFrom(random_message(entry, chance, depth + 1))
    elif entry is None:
        setattr(message, field.name, _scalar(field, chance))
    elif depth < DEEPEST:
        getattr(message, field.name).CopyFrom(random_message(entry, chance, depth + 1))


def _scalar(field: FieldDescriptor, chance: random.Random) -> Any:
    kind = field.cpp_type
    if kind in BOUNDS:
        lowest, highest = BOUNDS[kind]
        return min(highest, max(lowest, chance.choice(WHOLE)))
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return chance.random() < 0.5
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return chance.choice([*(value.number for value in field.enum_type.values), 99])
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return chance.choice(DECIMAL)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return chance.randbytes(chance.choice((0, 1, 40)))
    return chance.choice(TEXTS)


KNOWN = {
    "workspace": "",
    "record_id": "r1",
    "record_ids": "r1",
    "seller_id": "ann",
    "seller_ids": "ann",
    "record_type": "lead",
    "segment_id": "big",
    "segment_ids": "big",
    "sequence_id": "welcome",
    "step_id": "hello",
    "queue_id": "inbox",
    "queue_ids": "inbox",
    "team_id": "field",
    "schedule_id": "mornings",
    "id": "big",
    "condition": 'record.country == "DE"',
    "filter": "record.revenue > 1.0",
    "display_name": "A name",
    "time_off_id": "holiday",
    "zone": "Europe/Berlin",
    "time_zone": "Europe/Berlin",
}
"""What stands in fields of these names in a working day."""


def plausible_message(descriptor: Descriptor, known: Mapping[str, str], depth: int = 0) -> Message:
    """Return a message as it might be meant: ids of what there is, small numbers, no page token. The same every time."""
    message = message_factory.GetMessageClass(descriptor)()
    if descriptor.full_name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        message.seconds = 1_772_438_400 if descriptor.name == "Timestamp" else 60  # type: ignore[attr-defined]
        return message
    chosen = {oneof.name: oneof.fields[0] for oneof in descriptor.oneofs}
    for field in descriptor.fields:
        entry, oneof = field.message_type, field.containing_oneof
        if field.name in ("page_token", "cursor", "request_id", "etag") or (oneof is not None and chosen[oneof.name] is not field):
            continue
        if entry is not None:
            if depth < 2 and not entry.GetOptions().map_entry:
                inner, target = plausible_message(entry, known, depth + 1), getattr(message, field.name)
                target.add().CopyFrom(inner) if field.is_repeated else target.CopyFrom(inner)
            continue
        value = _meant(field, known)
        if value is not None and field.is_repeated:
            getattr(message, field.name).append(value)
        elif value is not None:
            setattr(message, field.name, value)
    return message


def _meant(field: FieldDescriptor, known: Mapping[str, str]) -> Any:
    """Return what a field says in a working day; None = nothing."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return None if field.type == FieldDescriptor.TYPE_BYTES else (KNOWN | dict(known)).get(field.name)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return field.enum_type.values[min(1, len(field.enum_type.values) - 1)].number
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return None
    return 1.5 if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT) else 2


def changed_fields(good: Message, chance: random.Random) -> Message:
    """Return a copy of a message in which some fields, at any depth, are filled anew or left out."""
    copy = type(good)()
    copy.CopyFrom(good)
    target: Message = copy
    while True:
        fields = [field for field, _ in target.ListFields() if field.message_type and not field.message_type.GetOptions().map_entry]
        if not fields or chance.random() < 0.4:
            break
        inner = getattr(target, (field := chance.choice(fields)).name)
        target = chance.choice(list(inner)) if field.is_repeated else inner
    for field in chance.sample(list(target.DESCRIPTOR.fields), min(2, len(target.DESCRIPTOR.fields))):
        target.ClearField(field.name)  # type: ignore[arg-type]
        if chance.random() < 0.8:
            _fill(target, field, chance, 2)
    return copy


def changed_bytes(good: bytes, chance: random.Random) -> bytes:
    """Return bytes that are a little different: flipped, cut, doubled, made up."""
    content = bytearray(good)
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(content) + 1)
        match chance.randrange(4):
            case 0 if content:
                content[place % len(content)] ^= 1 << chance.randrange(8)
            case 1:
                content[place:place] = chance.randbytes(chance.choice((1, 2, 8)))
            case 2:
                del content[place : place + chance.choice((1, 4, 16))]
            case _:
                content += content[place : place + 64]
    return bytes(content)
