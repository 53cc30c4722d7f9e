"""Messages as JSON Schemas: the JSON form of protobuf, with the rules and the comments of the contracts."""

from collections.abc import Collection
from functools import cache
from typing import cast

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from graphmesh.policy.v1 import policy_pb2
from graphmesh_contracts import field_path
from graphmesh_contracts.comments import comments_of
from protovalidate import collect_violations

from graphmesh_mesh.envoy.documents import Document
from graphmesh_mesh.openapi.rules import accepts_zero, keywords, sentences, zero

T = FieldDescriptor
INTEGER: Document = {"type": "integer", "format": "int32"}
UNSIGNED: Document = {"type": "integer", "minimum": 0}
LONG: Document = {"type": ["string", "integer"], "format": "int64", "pattern": "^-?[0-9]+$"}
"""A number of 64 bits is a text in responses, and a text or a number in requests."""
UNSIGNED_LONG: Document = {**LONG, "format": "uint64", "pattern": "^[0-9]+$"}
FRACTION: Document = {"type": ["number", "string"], "format": "double", "pattern": "^(NaN|-?Infinity)$"}
SCALARS: dict[int, Document] = {
    T.TYPE_STRING: {"type": "string"},
    T.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    T.TYPE_BOOL: {"type": "boolean"},
    **dict.fromkeys((T.TYPE_INT32, T.TYPE_SINT32, T.TYPE_SFIXED32), INTEGER),
    **dict.fromkeys((T.TYPE_UINT32, T.TYPE_FIXED32), UNSIGNED),
    **dict.fromkeys((T.TYPE_INT64, T.TYPE_SINT64, T.TYPE_SFIXED64), LONG),
    **dict.fromkeys((T.TYPE_UINT64, T.TYPE_FIXED64), UNSIGNED_LONG),
    **dict.fromkeys((T.TYPE_FLOAT, T.TYPE_DOUBLE), FRACTION),
}
WELL_KNOWN: dict[str, Document] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array"},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}, "required": ["@type"]},
    **{
        f"google.protobuf.{name}Value": SCALARS[getattr(T, f"TYPE_{name.upper()}")]
        for name in ("String", "Bytes", "Bool", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double")
    },
}
"""Messages whose JSON is not an object of their fields."""


class Schemas:
    """The schemas of messages and enums that were referred to, by their full names."""

    def __init__(self) -> None:
        self.components: dict[str, Document] = {}

    def of_message(self, message: Descriptor) -> Document:
        """Return the schema of a message, or a reference to it."""
        if message.full_name in WELL_KNOWN:
            return WELL_KNOWN[message.full_name]
        if message.full_name not in self.components:
            self.components[message.full_name] = {}  # a message may contain itself
            self.components[message.full_name] = self.of_fields(message, ())
        return _reference(message.full_name)

    def of_fields(self, message: Descriptor, left_out: Collection[str]) -> Document:
        """Return the schema of an object with the fields of a message, but for those `left_out`."""
        fields = [field for field in message.fields if field.name not in left_out]
        required = sorted(field.json_name for field in fields if field.name in required_fields(message))
        choices = [rule for rule in map(_one_of, message.oneofs) if rule]
        rules: validate_pb2.MessageRules = message.GetOptions().Extensions[validate_pb2.message]
        text = [comments_of(message.file).get(message.full_name, ""), *sentences(rules)]
        return {
            "type": "object",
            **_described(text, deprecated=message.GetOptions().deprecated),
            "properties": {field.json_name: self.of_field(field) for field in fields},
            **({"required": required} if required else {}),
            **({"allOf": choices} if choices else {}),
        }

    def of_field(self, field: FieldDescriptor) -> Document:
        rules: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]
        entry = field.message_type if field.message_type and field.message_type.GetOptions().map_entry else None
        if entry:
            values = self._of_value(entry.fields_by_name["value"])
            schema: Document = {"type": "object", "additionalProperties": values}
        elif field.is_repeated:
            schema = {"type": "array", "items": self._of_value(field)}
        else:
            schema = self._of_value(field)
        is_checked = rules.ignore != validate_pb2.IGNORE_ALWAYS
        element = entry.fields_by_name["value"] if entry else field
        found = keywords(rules, element.enum_type) if is_checked else {}
        found = _with_zero(field, found) if found and accepts_zero(rules) else found
        for inner in ("items", "additionalProperties"):
            if inner in found and inner in schema:
                found[inner] = {**schema[inner], **found[inner]}
        message = cast(Descriptor, field.containing_type)
        text = [comments_of(message.file).get(f"{message.full_name}.{field.name}", "")]
        text += [*(sentences(rules) if is_checked else ()), *_json_bounds(field)]
        return {**schema, **found, **_described(text, deprecated=field.GetOptions().deprecated)}

    def _of_value(self, field: FieldDescriptor) -> Document:
        if field.enum_type:
            return self._of_enum(field.enum_type)
        return self.of_message(field.message_type) if field.message_type else SCALARS[field.type]

    def _of_enum(self, enum: EnumDescriptor) -> Document:
        if enum.full_name == "google.protobuf.NullValue":
            return {"type": "null"}
        texts = comments_of(enum.file)
        values = [f"- `{value.name}`: {texts.get(f'{enum.full_name}.{value.name}', '')}" for value in enum.values]
        text = [texts.get(enum.full_name, ""), "\n".join(values)] if texts else []
        names = [value.name for value in enum.values]
        self.components[enum.full_name] = {"type": "string", "enum": names, **_described(text, between="\n\n")}
        return _reference(enum.full_name)


@cache
def required_fields(message: Descriptor) -> frozenset[str]:
    """Return the fields without which a message breaks its rules: those that an empty message breaks them with."""
    violations = collect_violations(GetMessageClass(message)())
    paths = {field_path(violation) for violation in violations}
    return frozenset(field.name for field in message.fields if field.name in paths)


def _reference(name: str) -> Document:
    return {"$ref": f"#/components/schemas/{name}"}


def _one_of(oneof: object) -> Document:
    """Return the rule that at most one field is given, or exactly one; none for the oneof of an optional field."""
    names = [{"required": [field.json_name]} for field in oneof.fields]  # type: ignore[attr-defined]
    if len(names) == 1:
        return {}
    is_required = oneof.GetOptions().Extensions[validate_pb2.oneof].required  # type: ignore[attr-defined]
    return {"oneOf": names if is_required else [*names, {"not": {"anyOf": names}}]}


def _with_zero(field: FieldDescriptor, found: Document) -> Document:
    value = zero(field)
    forms = [value, str(value)] if field.cpp_type in (T.CPPTYPE_INT64, T.CPPTYPE_UINT64) else [value]
    return {"anyOf": [{"enum": forms}, found]}


def _json_bounds(field: FieldDescriptor) -> list[str]:
    options = field.GetOptions()
    if not options.HasExtension(policy_pb2.json):
        return []
    bounds = options.Extensions[policy_pb2.json]
    units = {"max_elements": "elements", "max_depth": "levels", "max_bytes": "bytes"}
    return [f"At most {value:,} {units[bound.name]} of JSON." for bound, value in bounds.ListFields()]


def _described(text: list[str], *, deprecated: bool = False, between: str = " ") -> Document:
    joined = between.join(filter(None, text))
    return {**({"description": joined} if joined else {}), **({"deprecated": True} if deprecated else {})}
