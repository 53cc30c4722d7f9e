"""Packs and unpacks the values of checkpoints and of task writes: within bounds, and large ones in a thread."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from graphmesh_chassis.large_values import MAX_ELEMENTS, Size, convert_aside, size_of
from graphmesh_nodes.errors import ValueNotStorable
from langgraph.checkpoint.serde.base import SerializerProtocol

from graphmesh_orchestrator.checkpoints.encoding import NAMES, pack
from graphmesh_orchestrator.checkpoints.large_values import StateLimits, StoredValue, ValueReader
from graphmesh_orchestrator.checkpoints.unserializable import refusal

INLINE_BYTES = 64 * 1024
"""Packed values up to which the event loop unpacks them: some hundred messages, which take milliseconds."""
T = TypeVar("T")


async def pack_bounded(
    serde: SerializerProtocol, values: Sequence[tuple[str, Any]], limits: StateLimits
) -> list[bytes]:
    """Pack the values of channels.

    Raises:
        ValueNotStorable: they have too many members and elements, or one cannot be serialized, which is named.
        StateTooLarge: their texts and bytes alone are larger than a checkpoint may be.
    """
    sizes = [(channel, size_of(value)) for channel, value in values]
    size = Size(sum(one.elements for _, one in sizes), sum(one.bytes for _, one in sizes))
    if size.elements > MAX_ELEMENTS:
        channel, _ = max(sizes, key=lambda sized: sized[1].elements)
        rule = f"would give a superstep more than {MAX_ELEMENTS} members and elements: keep large values as artifacts"
        raise _refused(channel, channel, rule)
    if size.bytes > limits.state:
        limits.check({f"{channel}": one.bytes for channel, one in sizes})
    return await convert_aside(size.is_large, _pack_all, serde, values)


async def unpack_aside(reader: ValueReader, values: Collection[StoredValue], make: Callable[[ValueReader], T]) -> T:
    """Make something of values that `reader` unpacks."""
    return await convert_aside(reader.size_of(values) > INLINE_BYTES, make, reader)


def _pack_all(serde: SerializerProtocol, values: Sequence[tuple[str, Any]]) -> list[bytes]:
    return [_packed(serde, channel, value) for channel, value in values]


def _packed(serde: SerializerProtocol, channel: str, value: Any) -> bytes:
    try:
        return pack(serde, value)
    except Exception as error:  # of the value's own code, too
        refused = refusal(serde, value, error)
        raise _refused(channel, f"{NAMES.get(channel, channel)}{refused.path}", refused.rule) from error


def _refused(channel: str, key: str, rule: str) -> ValueNotStorable:
    failure = ValueNotStorable(key=key, rule=rule)
    failure.locate(channel=channel)
    return failure
