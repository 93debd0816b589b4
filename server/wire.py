"""Answers put together from parts that are serialized already, so that what many followers get is encoded once.

After the encoding of Protocol Buffers (https://protobuf.dev/programming-guides/encoding/): a message is the sequence of its fields in any
order, and of an embedded message only the length stands before its bytes. So serialized messages of one type, one after the other, are
the message of all their fields.
"""

_LENGTH_DELIMITED = 2


def embedded(field: int, message: bytes) -> bytes:
    """Return a serialized message as the field of another one; `field` is between 1 and 15."""
    length, head = len(message), bytearray([field << 3 | _LENGTH_DELIMITED])
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + message
