"""Bounds of the fields of requests: each text, list, map and number has a limit in the proto.

Without one a single request may fill the memory of a service, and its validation takes as long as it is large.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from re import _parser  # type: ignore[attr-defined]  # of re itself: the longest text that a pattern matches
from typing import Any

from buf.validate import validate_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

TEXT_BOUNDS = ("const", "len", "max_len", "len_bytes", "max_bytes", "in", "uuid", "tuuid", "ip", "ipv4", "ipv6")
BYTES_BOUNDS = ("const", "len", "max_len", "in", "ip", "ipv4", "ipv6")
CHOSEN = ("const", "in")
MAX_TEXT = 1_000_000
"""Characters that count as a bound of a pattern."""
BOUNDED_MESSAGES = frozenset({"Struct", "Value", "ListValue", "Timestamp", "Duration", "Empty", "Any", "FieldMask"})
"""The messages of google.protobuf that the chassis bounds, that have no size, or whose field has their bounds."""
TYPES = FieldDescriptorProto
SIGNED = {TYPES.TYPE_INT32, TYPES.TYPE_INT64, TYPES.TYPE_SINT32, TYPES.TYPE_SINT64, TYPES.TYPE_SFIXED32}
SIGNED |= {TYPES.TYPE_SFIXED64}
UNSIGNED = {TYPES.TYPE_UINT32, TYPES.TYPE_UINT64, TYPES.TYPE_FIXED32, TYPES.TYPE_FIXED64}
FRACTIONS = {TYPES.TYPE_FLOAT, TYPES.TYPE_DOUBLE}


@dataclass(frozen=True)
class Unbounded:
    """A field of a request without a bound."""

    field: str
    """The full name: `acme.orders.v1.CreateOrderRequest.title`."""
    needed: str
    """The rules of which one is needed."""


def unbounded_fields(files: Sequence[FileDescriptorProto], own: Sequence[str]) -> list[Unbounded]:
    """Return the fields without bounds of all requests of the services in the files `own`, each once.

    Args:
        files: the files with all that they import.
    """
    types = _Types(files)
    found: dict[str, Unbounded] = {}
    seen: set[str] = set()
    for file in files:
        for service in file.service if file.name in own else ():
            for method in service.method:
                for unbounded in types.unbounded(method.input_type, seen):
                    found.setdefault(unbounded.field, unbounded)
    return list(found.values())


class _Types:
    """The messages and enums of all files by name."""

    def __init__(self, files: Sequence[FileDescriptorProto]) -> None:
        self._messages: dict[str, DescriptorProto] = {}
        for file in files:
            self._add(f".{file.package}" if file.package else "", file.message_type)

    def _add(self, prefix: str, messages: Sequence[DescriptorProto]) -> None:
        for message in messages:
            name = f"{prefix}.{message.name}"
            self._messages[name] = message
            self._add(name, message.nested_type)

    def unbounded(self, name: str, seen: set[str]) -> Iterator[Unbounded]:
        """Yield the fields without bounds of a message and of the messages in it."""
        if name in seen or name.removeprefix(".google.protobuf.") in BOUNDED_MESSAGES:
            return
        seen.add(name)
        for field in self._messages[name].field:
            path = f"{name.removeprefix('.')}.{field.name}"
            rules: validate_pb2.FieldRules = field.options.Extensions[validate_pb2.field]
            if needed := self._needed(field, rules):
                yield Unbounded(path, needed)
            yield from self._inner(field, seen)

    def _inner(self, field: FieldDescriptorProto, seen: set[str]) -> Iterator[Unbounded]:
        if entry := self._map_entry(field):
            field = entry.field[1]
        if field.type == TYPES.TYPE_MESSAGE and not _is_wrapper(field):
            yield from self.unbounded(field.type_name, seen)

    def _needed(self, field: FieldDescriptorProto, rules: validate_pb2.FieldRules) -> str:
        """Return what a field lacks; empty for one with bounds."""
        if rules.ignore == validate_pb2.IGNORE_ALWAYS:
            return "its rules to be checked, not ignore = IGNORE_ALWAYS"
        if entry := self._map_entry(field):
            return _needed_by_map(entry, rules.map)
        if field.label == TYPES.LABEL_REPEATED:
            return _needed_by_list(field, rules.repeated)
        return _needed_by_value(field, rules)

    def _map_entry(self, field: FieldDescriptorProto) -> DescriptorProto | None:
        found = self._messages.get(field.type_name) if field.type == TYPES.TYPE_MESSAGE else None
        return found if found is not None and found.options.map_entry else None


def _needed_by_map(entry: DescriptorProto, rules: validate_pb2.MapRules) -> str:
    if not rules.HasField("max_pairs"):
        return "map.max_pairs"
    key, value = entry.field
    if needed := _needed_by_value(key, rules.keys):
        return f"map.keys.{needed}"
    needed = _needed_by_value(value, rules.values)
    return f"map.values.{needed}" if needed else ""


def _needed_by_list(field: FieldDescriptorProto, rules: validate_pb2.RepeatedRules) -> str:
    chosen = rules.unique and field.type == TYPES.TYPE_ENUM and _has(rules.items.enum, (*CHOSEN, "defined_only"))
    if not rules.HasField("max_items") and not chosen:
        return "repeated.max_items"
    needed = _needed_by_value(field, rules.items)
    return f"repeated.items.{needed}" if needed else ""


def _needed_by_value(field: FieldDescriptorProto, rules: validate_pb2.FieldRules) -> str:
    kind = _WRAPPED.get(field.type_name, field.type)
    name = _NAMES.get(kind)
    own: Any = getattr(rules, name) if name else None
    match kind:
        case TYPES.TYPE_STRING:
            bounded = _has(own, TEXT_BOUNDS) or (own.HasField("pattern") and is_bounded(own.pattern))
            return "" if bounded else "string.max_len, or a pattern with a longest match"
        case TYPES.TYPE_BYTES:
            return "" if _has(own, BYTES_BOUNDS) else "bytes.max_len"
        case TYPES.TYPE_ENUM:
            return "" if _has(own, (*CHOSEN, "defined_only")) else "enum.defined_only"
        case TYPES.TYPE_MESSAGE if field.type_name == ".google.protobuf.Any":
            return "" if _has(rules.any, ("in",)) else "any.in"
        case TYPES.TYPE_MESSAGE if field.type_name == ".google.protobuf.FieldMask":
            return "" if _has(rules.field_mask, CHOSEN) or rules.cel else "field_mask.in"
    if _has(own, CHOSEN) or kind not in SIGNED | UNSIGNED | FRACTIONS:
        return ""
    has_upper = own.HasField("lt") or own.HasField("lte")
    has_lower = kind in UNSIGNED or own.HasField("gt") or own.HasField("gte")
    return "" if has_upper and has_lower else f"{name}.lte" if has_lower else f"{name}.gte and {name}.lte"


def is_bounded(pattern: str) -> bool:
    """Whether a pattern matches whole texts only, and none that is long. One that Python cannot read is not bounded."""
    if not re.match(r"\^|\\A", pattern) or not re.search(r"(?<!\\)(\\\\)*(\$|\\z)$", pattern):
        return False
    try:
        parsed = _parser.parse(re.sub(r"\\z$", r"\\Z", pattern))
    except (re.error, OverflowError):
        return False
    has_choices_outside = any(str(operation) == "BRANCH" for operation, _ in parsed)
    return not has_choices_outside and bool(parsed.getwidth()[1] <= MAX_TEXT)


def _has(rules: Any, names: Sequence[str]) -> bool:
    set_fields = {field.name for field, _ in rules.ListFields()} if rules is not None else set()
    return not set_fields.isdisjoint(names)


_NAMES: Mapping[int, str] = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in TYPES.Type.items()
    if name not in {"TYPE_MESSAGE", "TYPE_GROUP"}
}
"""The names of the rules of each type."""
_WRAPPED: Mapping[str, int] = {
    f".google.protobuf.{name}Value": TYPES.Type.Value(f"TYPE_{name.upper()}")
    for name in ("String", "Bytes", "Int32", "Int64", "UInt32", "UInt64", "Float", "Double", "Bool")
}


def _is_wrapper(field: FieldDescriptorProto) -> bool:
    return field.type_name in _WRAPPED
