"""Items of the store, and the rules that namespaces, keys and values keep."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from graphmesh_chassis.errors import FieldViolation, InvalidRequest
from graphmesh_chassis.large_values import size_of
from graphmesh_contracts.structs import NotJsonError, to_struct

MAX_LABELS = 32
MAX_NAMESPACE_BYTES = 1024
MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 1024 * 1024
MAX_ELEMENTS = 10_000
"""Members and elements of a value, at all levels: thousands of values are read in a search."""
MAX_TTL_MINUTES = 60 * 24 * 365 * 100.0

Namespace = tuple[str, ...]
Address = tuple[Namespace, str]
"""The namespace and the key of an item."""


@dataclass(frozen=True)
class StoredItem:
    """An item, as it is read."""

    namespace: Namespace
    key: str
    value: Mapping[str, Any]
    created: datetime
    updated: datetime
    ttl: float | None = None
    """Minutes to live after its last use; None: it does not expire."""
    vectors: bytes = b""
    """The vectors of its texts, where they are read: see `Index`."""

    @property
    def address(self) -> Address:
        return self.namespace, self.key


@dataclass(frozen=True)
class Put:
    """A value to store."""

    value: Mapping[str, Any]
    ttl: float | None = None
    """As of `StoredItem`."""
    vectors: bytes = b""


Changes = Mapping[Address, Put | None]
"""The values to store by address; None: the item is deleted."""


def check_namespace(namespace: Sequence[Any], field: str = "namespace") -> None:
    """Check the labels of a namespace, or of a prefix.

    Raises:
        InvalidRequest: it has too many labels or bytes, or a character that is not stored.
    """
    if len(namespace) > MAX_LABELS:
        raise invalid(field, f"has {len(namespace)} labels, it may have {MAX_LABELS}")
    for number, label in enumerate(namespace):
        if not isinstance(label, str) or not label:
            raise invalid(f"{field}[{number}]", "has to be text that is not empty")
        if "." in label:
            raise invalid(f"{field}[{number}]", "has a period, which separates labels")
        _check_text(label, f"{field}[{number}]")
    if (size := sum(len(label.encode()) for label in namespace)) > MAX_NAMESPACE_BYTES:
        raise invalid(field, f"has {size} bytes, it may have {MAX_NAMESPACE_BYTES}")


def check_address(address: tuple[Sequence[Any], Any]) -> None:
    """Raises InvalidRequest: as `check_namespace`, or the namespace or the key is empty, or the key has a bad form."""
    namespace, key = address
    if not namespace:
        raise invalid("namespace", "is empty")
    check_namespace(namespace)
    if not isinstance(key, str) or not key:
        raise invalid("key", "has to be text that is not empty")
    _check_text(key, "key")
    if (size := len(key.encode())) > MAX_KEY_BYTES:
        raise invalid("key", f"has {size} bytes, it may have {MAX_KEY_BYTES}")


def check_put(put: Put) -> None:
    """Raises InvalidRequest: the value is no JSON object or too large, or the ttl is no time."""
    if not isinstance(put.value, Mapping):
        raise invalid("value", "has to be a JSON object")
    if size_of(put.value).elements > MAX_ELEMENTS:
        raise invalid("value", f"has more than {MAX_ELEMENTS} members and elements")
    try:
        encoded = to_struct(put.value)
        _check_nul(put.value)
    except NotJsonError as error:
        raise invalid(f"value{error.path}", error.rule) from error
    if (size := encoded.ByteSize()) > MAX_VALUE_BYTES:
        raise invalid("value", f"has {size} bytes, it may have {MAX_VALUE_BYTES}")
    if put.ttl is not None and not (math.isfinite(put.ttl) and 0 < put.ttl <= MAX_TTL_MINUTES):
        raise invalid("ttl", f"is {put.ttl} minutes, it has to be more than 0 and at most {MAX_TTL_MINUTES:.0f}")


def invalid(field: str, rule: str) -> InvalidRequest:
    return InvalidRequest(violations=[FieldViolation(field, rule)])


def _check_text(text: str, field: str) -> None:
    if any(character < " " or character == "\x7f" for character in text):
        raise invalid(field, "has a control character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise invalid(field, "has a lone surrogate, which is no character") from None


def _check_nul(value: Any) -> None:
    """Raises NotJsonError: a text or a name has a NUL character."""
    match value:
        case str():
            if "\0" in value:
                raise NotJsonError("has a NUL character, which databases do not store")
        case Mapping():
            for name, member in value.items():
                try:
                    _check_nul(name)
                    _check_nul(member)
                except NotJsonError as error:
                    raise error.within(name) from None
        case list() | tuple():
            for number, element in enumerate(value):
                try:
                    _check_nul(element)
                except NotJsonError as error:
                    raise error.within(number) from None
