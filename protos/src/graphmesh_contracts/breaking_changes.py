"""Changes of a contract that break the callers of its present version: on the wire, in JSON, or by narrower rules."""

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor

from graphmesh_contracts.narrowed_rules import narrowed_requests

TYPES = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}
"""The names of the types of fields."""


def breaking_changes(before: ServiceDescriptor, after: ServiceDescriptor) -> list[str]:
    """Return a sentence for each change of a service that breaks callers that know only `before`.

    Methods, fields and values of enums may be added; none may be removed, or change its number, type or cardinality. A
    request that is valid stays valid.
    """
    found, seen = list[str](), set[str]()
    for method in before.methods:
        found += _of_method(method, after.methods_by_name.get(method.name), seen)
    return [*found, *map(str, narrowed_requests(before, after))]


def _of_method(before: MethodDescriptor, after: MethodDescriptor | None, seen: set[str]) -> Iterator[str]:
    if after is None:
        yield f"{before.full_name} is removed"
        return
    if (before.client_streaming, before.server_streaming) != (after.client_streaming, after.server_streaming):
        yield f"{before.full_name} changes whether it streams"
    if before.GetOptions().idempotency_level != after.GetOptions().idempotency_level:
        yield f"{before.full_name} changes its idempotency_level"
    for old, new in ((before.input_type, after.input_type), (before.output_type, after.output_type)):
        if old.full_name != new.full_name:
            yield f"{before.full_name} has {new.full_name} in place of {old.full_name}"
        else:
            yield from _of_messages(old, new, seen)


def _of_messages(before: Descriptor, after: Descriptor, seen: set[str]) -> Iterator[str]:
    """Yield the changes of a message and of all that it contains, each message once."""
    pending = [(before, after)]
    while pending:
        old, new = pending.pop()
        if old.full_name in seen:
            continue
        seen.add(old.full_name)
        for field in old.fields:
            other = new.fields_by_number.get(field.number)
            if change := _of_field(field, other):
                yield f"{field.full_name} {change}"
            elif other and field.message_type and other.message_type:
                pending.append((field.message_type, other.message_type))
            elif other and field.enum_type and other.enum_type:
                yield from _of_enum(field.enum_type, other.enum_type)


def _of_field(before: FieldDescriptor, after: FieldDescriptor | None) -> str:
    """Return what changes; empty where nothing that matters does."""
    if after is None:
        return "is removed"
    if before.name != after.name:
        return f"is renamed to {after.name}"
    if before.is_repeated != after.is_repeated:
        return "changes whether it is repeated"
    if _type(before) != _type(after):
        return f"changes its type from {_type(before)} to {_type(after)}"
    return ""


def _type(field: FieldDescriptor) -> str:
    named = field.message_type or field.enum_type
    return named.full_name if named is not None else TYPES[field.type]


def _of_enum(before: EnumDescriptor, after: EnumDescriptor) -> Iterator[str]:
    for value in before.values:
        if (other := after.values_by_number.get(value.number)) is None or other.name != value.name:
            yield f"{before.full_name}.{value.name} is removed"
