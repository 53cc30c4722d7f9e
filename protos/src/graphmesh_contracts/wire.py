"""The wire format of protobuf, as far as messages are made, joined and split here without being parsed."""

_SHORT = [bytes([number]) for number in range(128)]
LENGTH_DELIMITED = 2
"""The wire type of messages, texts and bytes."""


def varint(number: int) -> bytes:
    """Encode a number that is not negative."""
    if number < 128:
        return _SHORT[number]
    parts = bytearray()
    while number >= 128:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def tag_of(field_number: int) -> bytes:
    """Return the tag of a field that is a message, a text or bytes."""
    return varint(field_number << 3 | LENGTH_DELIMITED)


def delimited(tag: bytes, content: bytes) -> bytes:
    """Encode a field that is a message, a text or bytes."""
    return tag + varint(len(content)) + content


def split(message: bytes, tag: bytes) -> list[bytes]:
    """Split a message that has one field alone into its elements, each encoded with the `tag`, of one byte.

    Raises:
        ValueError: it has anything else.
    """
    elements, begin, expected = list[bytes](), 0, tag[0]
    try:
        while begin < len(message):
            if message[begin] != expected:
                raise ValueError(f"another field at byte {begin}")
            position, shift, length = begin + 1, 0, 0
            while (byte := message[position]) >= 128:
                length |= (byte & 127) << shift
                position, shift = position + 1, shift + 7
            end = position + 1 + (length | byte << shift)
            if end > len(message):
                raise ValueError("truncated")
            elements.append(message[begin:end])
            begin = end
    except IndexError as error:
        raise ValueError("truncated") from error
    return elements
