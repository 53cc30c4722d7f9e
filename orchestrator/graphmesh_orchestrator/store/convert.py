"""Conversion between messages and values of the store."""

from datetime import datetime

from google.protobuf.duration_pb2 import Duration
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.pages import decode_position
from graphmesh_chassis.timestamps import to_timestamp
from graphmesh_contracts import to_struct
from langgraph.store.base import MatchCondition

from graphmesh_orchestrator.runs.convert import duration
from graphmesh_orchestrator.store.item import Address, Namespace, StoredItem, check_address, check_namespace
from graphmesh_orchestrator.store.items import Position
from graphmesh_orchestrator.store.tables import SEPARATOR


def address_of(request: pb.PutItemRequest | pb.GetItemRequest | pb.DeleteItemRequest) -> Address:
    """Raises InvalidRequest: no item has the address."""
    address = (tuple(request.namespace), request.key)
    check_address(address)
    return address


def prefix_of(request: pb.SearchItemsRequest) -> Namespace:
    """Raises InvalidRequest: no namespace begins so."""
    prefix = tuple(request.namespace_prefix)
    check_namespace(prefix, "namespace_prefix")
    return prefix


def conditions_of(request: pb.ListNamespacesRequest) -> list[MatchCondition]:
    """Raises InvalidRequest: no namespace begins or ends so."""
    prefix, suffix = tuple(request.prefix), tuple(request.suffix)
    check_namespace(prefix, "prefix")
    check_namespace(suffix, "suffix")
    return [MatchCondition("prefix", prefix), MatchCondition("suffix", suffix)]


def ttl_minutes(time_to_live: Duration) -> float | None:
    """Return the minutes of a duration, in which 0 means that the item does not expire."""
    return time_to_live.ToNanoseconds() / 60e9 or None


def token_of(item: StoredItem) -> tuple[datetime, str]:
    """Return the parts of the token of the page behind an item."""
    return item.updated, SEPARATOR.join((*item.namespace, item.key))


def position_of(token: str) -> Position | None:
    """Return the position in the token of a page; None for the first page. Raises InvalidRequest."""
    position = decode_position(token, datetime, str)
    if position is None:
        return None
    updated, address = position
    namespace, key = address.rsplit(SEPARATOR, 1) if SEPARATOR in address else ("", address)
    return updated, tuple(namespace.split(SEPARATOR)), key


def namespace_position(token: str) -> Namespace:
    """Return the namespace in the token of a page; empty for the first page. Raises InvalidRequest."""
    text, _ = decode_position(token, str, str) or ("", "")
    return tuple(text.split(SEPARATOR)) if text else ()


def namespace_token(namespace: Namespace) -> tuple[str, str]:
    """Return the parts of the token of the page behind a namespace."""
    return SEPARATOR.join(namespace), ""


def item_message(item: StoredItem) -> pb.Item:
    message = pb.Item(
        namespace=item.namespace,
        key=item.key,
        value=to_struct(item.value),
        create_time=to_timestamp(item.created),
        update_time=to_timestamp(item.updated),
    )
    if item.ttl is not None:
        message.time_to_live.CopyFrom(duration(item.ttl * 60))
    return message
