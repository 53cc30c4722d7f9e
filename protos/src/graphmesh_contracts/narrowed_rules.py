"""Rules of a field that refuse values which its rules of before accept.

Bounds and sets are compared. Of any other rule (patterns, formats, expressions) a change is taken for a narrowing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

UPPER = ("max_len", "max_bytes", "max_items", "max_pairs")
LOWER = ("min_len", "min_bytes", "min_items", "min_pairs")
NESTED = ("items", "keys", "values")
"""The rules of the elements of a list or a map."""
COMPARED = frozenset({*UPPER, *LOWER, *NESTED, "lt", "lte", "gt", "gte", "in", "not_in", "example"})
EXPRESSIONS = ("cel", "cel_expression")


@dataclass(frozen=True)
class Narrowing:
    """A rule by which a request that was valid is not any more."""

    element: str
    """The full name of the field or the message."""
    change: str
    """Such as `string.max_len is 40 in place of 100`."""

    def __str__(self) -> str:
        return f"{self.element}: {self.change}"


def narrowed_requests(before: ServiceDescriptor, after: ServiceDescriptor) -> Iterator[Narrowing]:
    """Yield what the methods that both have refuse now, in messages of the same name, each message once."""
    methods = ((method, after.methods_by_name.get(method.name)) for method in before.methods)
    pending = [(old.input_type, new.input_type) for old, new in methods if new is not None]
    seen = set[str]()
    while pending:
        old, new = pending.pop()
        if old.full_name in seen or old.full_name != new.full_name:
            continue
        seen.add(old.full_name)
        yield from _of_message(old, new)
        for field in old.fields:
            other = new.fields_by_number.get(field.number)
            if other is None:
                continue
            changes = _of_field(_field_rules(field), _field_rules(other), "")
            yield from (Narrowing(other.full_name, change) for change in changes)
            if field.message_type and other.message_type:
                pending.append((field.message_type, other.message_type))


def _field_rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """Return the rules of a field; empty where they are not checked."""
    rules: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]
    return validate_pb2.FieldRules() if rules.ignore == validate_pb2.IGNORE_ALWAYS else rules


def _of_message(before: Descriptor, after: Descriptor) -> Iterator[Narrowing]:
    """Yield new rules of a whole message and of its oneofs, and new fields without which a message is invalid."""
    old, new = (one.GetOptions().Extensions[validate_pb2.message] for one in (before, after))
    for name in (*EXPRESSIONS, "oneof"):
        if added := [rule for rule in getattr(new, name) if rule not in getattr(old, name)]:
            yield Narrowing(after.full_name, f"has the new rule {_rule_text(added[0])}")
    for oneof in after.oneofs:
        known = before.oneofs_by_name.get(oneof.name)
        if _is_required(oneof) and not (known and _is_required(known)):
            yield Narrowing(after.full_name, f"requires one of the fields of {oneof.name}")
    yield from _needed_fields(before, after)


def _is_required(oneof: OneofDescriptor) -> bool:
    return bool(oneof.GetOptions().Extensions[validate_pb2.oneof].required)


def _needed_fields(before: Descriptor, after: Descriptor) -> Iterator[Narrowing]:
    from protovalidate import Validator  # which a client does not have

    for violation in Validator().collect_violations(GetMessageClass(after)()):
        path = violation.proto.field
        for element in path.elements[:1] if path else ():
            # A oneof has no number, and is compared as such.
            if element.field_number and element.field_number not in before.fields_by_number:
                rule = violation.proto.message
                yield Narrowing(f"{after.full_name}.{element.field_name}", f"is new, and not optional: {rule}")


def _of_field(before: validate_pb2.FieldRules, after: validate_pb2.FieldRules, prefix: str) -> Iterator[str]:
    if after.required and not before.required:
        yield f"{prefix}required is new"
    added = [rule for name in EXPRESSIONS for rule in getattr(after, name) if rule not in getattr(before, name)]
    if added:
        yield f"{prefix}has the new rule {_rule_text(added[0])}"
    kind = after.WhichOneof("type")
    if kind is None:
        return
    old, new = getattr(before, kind), getattr(after, kind)
    if before.ignore != after.ignore and after.ignore == validate_pb2.IGNORE_UNSPECIFIED and new.ListFields():
        yield f"{prefix}ignore: rules apply to the zero value too"
    yield from _of_type(old, new, f"{prefix}{kind}.")


def _of_type(before: Message, after: Message, prefix: str) -> Iterator[str]:
    names = {field.name for field, _ in after.ListFields()}
    for name in (*UPPER, *LOWER):
        if name in names and _is_narrower(before, after, name, is_upper=name in UPPER):
            yield f"{prefix}{name} {_change(before, after, name)}"
    for names_of_bound, is_upper in ((("lt", "lte"), True), (("gt", "gte"), False)):
        stated = [name for name in names_of_bound if name in names]
        if stated and _is_tighter(_bound(before, names_of_bound), _bound(after, names_of_bound), is_upper):
            yield f"{prefix}{stated[0]} {_change(before, after, stated[0])}"
    yield from _of_sets(before, after, names, prefix)
    for name in sorted(names - COMPARED):
        if not _has(before, name) or getattr(before, name) != getattr(after, name):
            yield f"{prefix}{name} {_change(before, after, name)}"
    for name in sorted(names.intersection(NESTED)):
        yield from _of_field(getattr(before, name), getattr(after, name), f"{prefix}{name}.")


def _of_sets(before: Message, after: Message, names: set[str], prefix: str) -> Iterator[str]:
    old, new = ({name: list(getattr(one, name, ())) for name in ("in", "not_in")} for one in (before, after))
    if "in" in names:
        if not old["in"]:
            yield f"{prefix}in is new"
        elif missing := [one for one in old["in"] if one not in new["in"]]:
            yield f"{prefix}in does not have {_value(missing[0])} any more"
    if added := [one for one in new["not_in"] if one not in old["not_in"]]:
        yield f"{prefix}not_in has {_value(added[0])}"


def _is_narrower(before: Message, after: Message, name: str, *, is_upper: bool) -> bool:
    if not _has(before, name):
        return is_upper or getattr(after, name) > 0
    old, new = getattr(before, name), getattr(after, name)
    return bool(new < old if is_upper else new > old)


def _bound(rules: Message, names: Iterable[str]) -> tuple[Any, bool] | None:
    """Return a bound, and whether the value itself is within."""
    return next(((_number(getattr(rules, name)), name.endswith("e")) for name in names if _has(rules, name)), None)


def _is_tighter(before: tuple[Any, bool] | None, after: tuple[Any, bool] | None, is_upper: bool) -> bool:
    if before is None or after is None:
        return after is not None
    if before[0] == after[0]:
        return before[1] and not after[1]
    return bool(after[0] < before[0] if is_upper else after[0] > before[0])


def _number(value: Any) -> Any:
    """Return a value that can be compared: of a duration or a time its nanoseconds."""
    return value.ToNanoseconds() if isinstance(value, Message) else value  # type: ignore[attr-defined]


def _has(rules: Message, name: str) -> bool:
    return any(field.name == name for field, _ in rules.ListFields())


def _change(before: Message, after: Message, name: str) -> str:
    new = _value(getattr(after, name))
    return f"is {new} in place of {_value(getattr(before, name))}" if _has(before, name) else f"is new: {new}"


def _value(value: Any) -> str:
    if isinstance(value, Message):
        return " ".join(str(value).split())
    return repr(value) if isinstance(value, str) else str(value)


def _rule_text(rule: Any) -> str:
    return rule if isinstance(rule, str) else getattr(rule, "id", "") or _value(rule)
