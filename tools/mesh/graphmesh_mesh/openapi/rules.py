"""The rules of protovalidate as keywords of JSON Schema.

A keyword refuses nothing that the rule allows. What JSON Schema cannot express (bytes of a text, times relative to now,
CEL) is a sentence of the description.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from buf.validate import validate_pb2
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from graphmesh_mesh.envoy.documents import Document

FORMATS = {
    "email": "email",
    "hostname": "hostname",
    "ipv4": "ipv4",
    "ipv6": "ipv6",
    "uri": "uri",
    "uri_ref": "uri-reference",
    "uuid": "uuid",
}
"""The rules of texts that are formats of JSON Schema."""
CONTROL = (r"\p{Cc}", r"\x00-\x1f\x7f-\x9f")
"""A class of RE2, and the same characters in every dialect."""
INTEGERS_AS_TEXT = {"int64", "uint64", "sint64", "fixed64", "sfixed64"}
NUMBERS = {"int32", "uint32", "sint32", "fixed32", "sfixed32", "float", "double", *INTEGERS_AS_TEXT}


def keywords(rules: validate_pb2.FieldRules, enum: EnumDescriptor | None = None) -> Document:
    """Return the keywords of a field's rules, or of those of an element; `enum` is the field's, where it has one."""
    kind = rules.WhichOneof("type") or ""
    found: Document = {}
    match kind:
        case "string":
            found = _text(rules.string)
        case "bytes":
            found = _bytes(rules.bytes)
        case "enum":
            found = _enum(rules.enum, enum)
        case "bool":
            found = {"const": rules.bool.const} if rules.bool.HasField("const") else {}
        case "repeated":
            found = _list(rules.repeated, enum)
        case "map":
            found = _map(rules.map, enum)
        case _ if kind in NUMBERS:
            found = _number(kind, getattr(rules, kind))
    return found


def sentences(rules: validate_pb2.FieldRules | validate_pb2.MessageRules) -> Iterator[str]:
    """Yield a sentence for each rule that has no keyword."""
    for rule in rules.cel:
        yield f"Rule: {rule.message or rule.expression}."
    for expression in rules.cel_expression:
        yield f"Rule: {expression}."
    if isinstance(rules, validate_pb2.MessageRules):
        return
    kind = rules.WhichOneof("type")
    if kind == "string":
        yield from _sentences_of_text(rules.string)
    elif kind in {"duration", "timestamp", "any", "field_mask"}:
        yield from _sentences_of_message(getattr(rules, kind))


def accepts_zero(rules: validate_pb2.FieldRules) -> bool:
    """Whether the rules are not checked for the zero value."""
    return rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE


def zero(field: FieldDescriptor) -> Any:
    """Return the JSON of a field's zero value."""
    if field.is_repeated:
        return {} if field.message_type and field.message_type.GetOptions().map_entry else []
    if field.enum_type:
        return field.enum_type.values[0].name
    return {FieldDescriptor.CPPTYPE_STRING: "", FieldDescriptor.CPPTYPE_BOOL: False}.get(field.cpp_type, 0)


def portable(pattern: str) -> str:
    """Return a pattern of RE2 in the dialect of JSON Schema; empty where it has none."""
    pattern = pattern.replace(*CONTROL)
    pattern = re.sub(r"^\\A", "^", pattern)
    pattern = re.sub(r"\\z$", "$", pattern)
    if re.search(r"\(\?[^:]|\\[pPQAzC]|\[\[:", pattern):
        return ""
    try:
        re.compile(pattern)
    except re.error:
        return ""
    return pattern


def _text(rules: validate_pb2.StringRules) -> Document:
    found: Document = {}
    shortest, longest = [rules.min_len, math.ceil(rules.min_bytes / 4)], []
    for name in ("len", "max_len", "len_bytes", "max_bytes"):
        longest += [getattr(rules, name)] if rules.HasField(name) else []
    shortest += [rules.len] if rules.HasField("len") else []
    if max(shortest):
        found["minLength"] = max(shortest)
    if longest:
        found["maxLength"] = min(longest)
    found |= _choices(rules)
    for name, format in FORMATS.items():
        if getattr(rules, name, False):
            found["format"] = format
    return found | _all_of(list(_patterns(rules)))


def _patterns(rules: validate_pb2.StringRules) -> Iterator[Document]:
    if pattern := portable(rules.pattern):
        yield {"pattern": pattern}
    if rules.prefix:
        yield {"pattern": f"^{_literal(rules.prefix)}"}
    if rules.suffix:
        yield {"pattern": f"{_literal(rules.suffix)}$"}
    if rules.contains:
        yield {"pattern": _literal(rules.contains)}
    if rules.not_contains:
        yield {"not": {"pattern": _literal(rules.not_contains)}}


def _all_of(parts: Sequence[Document]) -> Document:
    return {} if not parts else parts[0] if len(parts) == 1 else {"allOf": list(parts)}


def _literal(text: str) -> str:
    return "".join(
        f"\\u{ord(one):04x}" if ord(one) < 32 else f"\\{one}" if one in r"\^$.|?*+()[]{}/" else one for one in text
    )


def _sentences_of_text(rules: validate_pb2.StringRules) -> Iterator[str]:
    if rules.HasField("max_bytes"):
        yield f"At most {rules.max_bytes} bytes in UTF-8."
    if rules.HasField("min_bytes"):
        yield f"At least {rules.min_bytes} bytes in UTF-8."
    if rules.HasField("len_bytes"):
        yield f"Exactly {rules.len_bytes} bytes in UTF-8."
    if rules.pattern and not portable(rules.pattern):
        yield f"It matches the RE2 pattern {rules.pattern}"
    known = rules.WhichOneof("well_known")
    if known and known not in FORMATS:
        yield f"Rule: {known}."


def _sentences_of_message(rules: Message) -> Iterator[str]:
    """Name each rule of a duration, a time, a field mask or a message of any type, with its value."""
    for field, value in rules.ListFields():
        values = [value] if not field.is_repeated else list(value)
        yield f"Rule: {field.name} {', '.join(map(_shown, values))}."


def _shown(value: object) -> str:
    if isinstance(value, Duration | Timestamp):
        return value.ToJsonString()
    return str(value).strip() if not isinstance(value, bool) else str(value).lower()


def _bytes(rules: validate_pb2.BytesRules) -> Document:
    """The lengths are those of base64, with padding or without."""
    found: Document = {}
    shortest = rules.len if rules.HasField("len") else rules.min_len
    if shortest:
        found["minLength"] = math.ceil(shortest * 4 / 3)
    longest = [getattr(rules, name) for name in ("len", "max_len") if rules.HasField(name)]
    if longest:
        found["maxLength"] = 4 * math.ceil(min(longest) / 3)
    return found


def _enum(rules: validate_pb2.EnumRules, enum: EnumDescriptor | None) -> Document:
    if enum is None:
        return {}
    values = {value.number for value in enum.values}
    if rules.HasField("const"):
        values &= {rules.const}
    if getattr(rules, "in"):
        values &= set(getattr(rules, "in"))
    values -= set(rules.not_in)
    if len(values) == len({value.number for value in enum.values}):
        return {}
    return {"enum": [value.name for value in enum.values if value.number in values]}


def _number(kind: str, rules: Any) -> Document:
    found = _choices(rules, as_text=kind in INTEGERS_AS_TEXT)
    lower = {"exclusiveMinimum": rules.gt} if rules.HasField("gt") else {}
    lower |= {"minimum": rules.gte} if rules.HasField("gte") else {}
    upper = {"exclusiveMaximum": rules.lt} if rules.HasField("lt") else {}
    upper |= {"maximum": rules.lte} if rules.HasField("lte") else {}
    if lower and upper and max(lower.values()) > min(upper.values()):  # protovalidate: outside of the range
        return found | {"anyOf": [lower, upper]}
    return found | lower | upper


def _choices(rules: Any, *, as_text: bool = False) -> Document:
    def forms(values: Sequence[Any]) -> list[Any]:
        return [form for value in values for form in ([value, str(value)] if as_text else [value])]

    found: Document = {}
    chosen = [rules.const] if rules.HasField("const") else list(getattr(rules, "in"))
    if chosen:
        found["enum"] = forms(chosen)
    if rules.not_in:
        found["not"] = {"enum": forms(rules.not_in)}
    return found


def _list(rules: validate_pb2.RepeatedRules, enum: EnumDescriptor | None) -> Document:
    found = {"minItems": rules.min_items} if rules.min_items else {}
    found |= {"maxItems": rules.max_items} if rules.HasField("max_items") else {}
    found |= {"uniqueItems": True} if rules.unique else {}
    items = _element(rules.items, enum)
    return found | ({"items": items} if items else {})


def _map(rules: validate_pb2.MapRules, enum: EnumDescriptor | None) -> Document:
    found: Document = {"minProperties": rules.min_pairs} if rules.min_pairs else {}
    found |= {"maxProperties": rules.max_pairs} if rules.HasField("max_pairs") else {}
    if rules.keys.WhichOneof("type") == "string" and (keys := _element(rules.keys)):
        found["propertyNames"] = keys
    values = _element(rules.values, enum)
    return found | ({"additionalProperties": values} if values else {})


def _element(rules: validate_pb2.FieldRules, enum: EnumDescriptor | None = None) -> Document:
    if rules.ignore != validate_pb2.IGNORE_UNSPECIFIED:
        return {}
    found = keywords(rules, enum)
    if text := " ".join(sentences(rules)):
        found["description"] = text
    return found
