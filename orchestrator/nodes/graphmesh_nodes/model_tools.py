"""Tools for models, made from RPCs.

    tool = tool_schema(BillingService.Refund)
    model.bind_tools([tool.openai])
    request = tool.parse(call["args"])

A tool's schema is its request message, with the rules of the proto as far as JSON Schema can express them, described by
the proto's comments. The metadata of a call (effect key, tenant, run) has no field in it, ever: the orchestrator sets
it, not a model.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from buf.validate import validate_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from graphmesh_chassis.errors import FieldViolation, InvalidRequest
from graphmesh_chassis.validation import violations
from graphmesh_contracts import Rpc, method_policy
from graphmesh_contracts.comments import comments_of

from graphmesh_nodes.json_schemas import violations_of

RequestT = TypeVar("RequestT", bound=Message)
Schema = dict[str, Any]

HIDDEN_FIELDS = frozenset({"idempotency_key", "request_id", "tenant", "tenant_id", "run_id", "thread_id"})
"""Fields that no model may set, in whichever contract."""
REASONS = re.compile(r"(?<!\s)\s*Reasons:[^\n]*")
"""The part of a comment about errors: for callers in code."""

FIELD_MASK = "google.protobuf.FieldMask"
WELL_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    FIELD_MASK: {"type": "array", "items": {"type": "string"}},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array"},
}
"""The JSON forms of protobuf's own messages; but field masks are lists of names, which models write better."""

MAX_FIELDS = 2_000
"""The most fields of a tool, its messages expanded. Messages that use each other twice multiply."""
INT32: Schema = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
INT64: Schema = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
UINT32: Schema = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
UINT64: Schema = {"type": "integer", "minimum": 0, "maximum": 2**64 - 1}
SCALARS: Mapping[int, Schema] = {
    FieldDescriptor.TYPE_INT32: INT32,
    FieldDescriptor.TYPE_SINT32: INT32,
    FieldDescriptor.TYPE_SFIXED32: INT32,
    FieldDescriptor.TYPE_INT64: INT64,
    FieldDescriptor.TYPE_SINT64: INT64,
    FieldDescriptor.TYPE_SFIXED64: INT64,
    FieldDescriptor.TYPE_UINT32: UINT32,
    FieldDescriptor.TYPE_FIXED32: UINT32,
    FieldDescriptor.TYPE_UINT64: UINT64,
    FieldDescriptor.TYPE_FIXED64: UINT64,
    FieldDescriptor.TYPE_DOUBLE: {"type": "number"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
"""The JSON forms of scalars."""

RULES: Mapping[str, str] = {
    "const": "const",
    "in": "enum",
    "min_len": "minLength",
    "max_len": "maxLength",
    "pattern": "pattern",
    "gt": "exclusiveMinimum",
    "gte": "minimum",
    "lt": "exclusiveMaximum",
    "lte": "maximum",
    "min_items": "minItems",
    "max_items": "maxItems",
    "unique": "uniqueItems",
    "min_pairs": "minProperties",
    "max_pairs": "maxProperties",
}
"""The rules of protovalidate with a keyword of JSON Schema. The others are checked when arguments are parsed."""
FORMATS = ("email", "uri", "uuid", "ipv4", "ipv6", "hostname")


@dataclass(frozen=True)
class ToolSchema(Generic[RequestT]):
    """A tool as models see it, and the conversion of their arguments to requests."""

    rpc: Rpc[RequestT, Any]
    description: str
    parameters: Schema

    @property
    def name(self) -> str:
        """The tool's name in the characters that vendors allow: `billing_Refund`."""
        return self.rpc.tool.replace(".", "_")

    @property
    def openai(self) -> Schema:
        """The form that LangChain's `bind_tools` and most vendors take."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}

    def parse(self, arguments: Mapping[str, Any]) -> RequestT:
        """Convert a model's arguments to the request.

        Raises:
            InvalidRequest: they break the schema or a rule of the proto; it names every bad field, also unknown ones.
        """
        if broken := violations_of(self.parameters, arguments, ""):
            raise InvalidRequest(violations=broken, tool=self.name)
        try:
            request = json_format.ParseDict(_wire_form(arguments, self.rpc.descriptor.input_type), self.rpc.request())
        except json_format.ParseError as error:
            raise InvalidRequest(violations=[FieldViolation("arguments", str(error))], tool=self.name) from error
        if broken := violations(request):
            raise InvalidRequest(violations=broken, tool=self.name)
        return request


def tool_schema(rpc: Rpc[RequestT, Any]) -> ToolSchema[RequestT]:
    """Return the tool of an RPC.

    Raises:
        ValueError: its policy does not show it to models, or no schema can express its request.
    """
    return _tool_schema(rpc)


@cache  # which loses the type of the request
def _tool_schema(rpc: Rpc[Any, Any]) -> ToolSchema[Any]:
    if not method_policy(rpc.descriptor).visible_to_models:
        raise ValueError(f"{rpc.tool} is not for models: its policy does not declare LLM_VISIBILITY_VISIBLE")
    description = REASONS.sub("", _comment(rpc.full_name, rpc.descriptor.containing_service.file)).strip()
    if (fields := _expanded_fields(rpc.descriptor.input_type, {})) > MAX_FIELDS:
        raise ValueError(f"{rpc.tool} has {fields:,} fields, its messages expanded; a tool has at most {MAX_FIELDS:,}")
    return ToolSchema(rpc, description, _message_schema(rpc.descriptor.input_type, ()))


def tool_schemas(handles: type[Any]) -> list[ToolSchema[Any]]:
    """Return the tools of a service, `graphmesh.billing.v1.BillingService`: of its RPCs that are visible to models."""
    rpcs = [member for member in vars(handles).values() if isinstance(member, Rpc)]
    return [tool_schema(rpc) for rpc in rpcs if method_policy(rpc.descriptor).visible_to_models]


def _expanded_fields(message: Descriptor, known: dict[str, int]) -> int:
    """Count the fields of a schema, in which a message is repeated wherever it is used. `known` are counts by name."""
    if message.full_name not in known:
        known[message.full_name] = 0  # while it is counted: a message inside itself has no schema anyway
        inner = [field.message_type for field in message.fields if field.message_type is not None]
        known[message.full_name] = len(message.fields) + sum(_expanded_fields(one, known) for one in inner)
    return known[message.full_name]


def _message_schema(message: Descriptor, parents: tuple[str, ...]) -> Schema:
    if message.full_name in WELL_KNOWN:
        return dict(WELL_KNOWN[message.full_name])
    if message.full_name in parents or message.full_name == "google.protobuf.Any":
        raise ValueError(f"{message.full_name} contains messages of any depth or type: no tool schema can express that")
    path = (*parents, message.full_name)
    fields = [field for field in message.fields if field.name not in HIDDEN_FIELDS]
    required = _required(message)
    return {
        "type": "object",
        "properties": {field.name: _field_schema(field, message.file, path) for field in fields},
        "required": [field.name for field in fields if field.name in required],
        "additionalProperties": False,
    }


def _required(message: Descriptor) -> frozenset[str]:
    """Return the required fields: those about which the empty message breaks a rule."""
    return frozenset(violation.field for violation in violations(GetMessageClass(message)()))


def _field_schema(field: FieldDescriptor, file: FileDescriptor, parents: tuple[str, ...]) -> Schema:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    schema = _field_type(field, rules, parents)
    text = " ".join(filter(None, (_comment(field.full_name, file), _oneof_note(field))))
    return {**schema, "description": text} if text else schema


def _field_type(field: FieldDescriptor, rules: Any, parents: tuple[str, ...]) -> Schema:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _map_schema(field.message_type, rules.map, parents)
    if field.is_repeated:
        items = _value_schema(field, rules.repeated.items, parents)
        return {"type": "array", "items": items, **_keywords(rules.repeated)}
    return _value_schema(field, rules, parents)


def _map_schema(entry: Descriptor, rules: Any, parents: tuple[str, ...]) -> Schema:
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    names = _value_schema(key, rules.keys, parents) if key.type == FieldDescriptor.TYPE_STRING else {}
    values = _value_schema(value, rules.values, parents)
    return {"type": "object", "propertyNames": names, "additionalProperties": values, **_keywords(rules)}


def _value_schema(field: FieldDescriptor, rules: Any, parents: tuple[str, ...]) -> Schema:
    """Return the schema of one value of `field`, whether it is repeated or not."""
    if field.message_type is not None:
        return _message_schema(field.message_type, parents)
    if field.enum_type is not None:
        if field.enum_type.full_name == "google.protobuf.NullValue":
            return {"type": "null"}
        return {"type": "string", "enum": _value_names(field.enum_type, rules.enum)}
    rule_type = rules.WhichOneof("type")
    keywords = _keywords(getattr(rules, rule_type)) if rule_type not in (None, "bytes") else {}
    return _without_redundant_bounds({**SCALARS[field.type], **keywords})


def _value_names(enum: EnumDescriptor, rules: Any) -> list[str]:
    """Return the values that a model may use; not that of zero, which an absent field means."""
    allowed = set(getattr(rules, "in")) or {value.number for value in enum.values}
    excluded = {0, *rules.not_in}
    return [value.name for value in enum.values if value.number in allowed - excluded]


def _keywords(rules: Any) -> Schema:
    """Return the declared `rules` as keywords of JSON Schema, where it has one."""
    declared = {field.name: value for field, value in rules.ListFields()}
    keywords: Schema = {RULES[name]: value for name, value in declared.items() if name in RULES}
    if "enum" in keywords:
        keywords["enum"] = list(keywords["enum"])
    if not _is_portable(keywords.get("pattern", "")):
        del keywords["pattern"]
    formats = [name for name in FORMATS if declared.get(name)]
    return {**keywords, "format": formats[0]} if formats else keywords


def _is_portable(pattern: str) -> bool:
    """Return whether `pattern`, of RE2's syntax, is valid in others too: `\\p{Cc}` is not."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _without_redundant_bounds(schema: Schema) -> Schema:
    """Drop the bound of a type where the rules declare a tighter one under the other keyword."""
    tighter = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}
    return {keyword: value for keyword, value in schema.items() if tighter.get(keyword) not in schema}


def _oneof_note(field: FieldDescriptor) -> str:
    oneof = field.containing_oneof
    if oneof is None or len(oneof.fields) < 2:
        return ""
    others = ", ".join(other.name for other in oneof.fields if other is not field)
    return f"Only one of this and {others} may be given."


def _comment(name: str, file: FileDescriptor) -> str:
    """Return the proto's comment on a name, one line for each paragraph."""
    paragraphs = comments_of(file).get(name, "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _wire_form(value: Any, message: Descriptor | None) -> Any:
    """Return `value` in protobuf's own JSON, which spells a field mask as one string in camel case."""
    if message is None or (message.full_name in WELL_KNOWN and message.full_name != FIELD_MASK):
        return value
    if message.full_name == FIELD_MASK:
        return ",".join(_camel_case(path) for path in value)
    if isinstance(value, list):
        return [_wire_form(each, message) for each in value]
    entry = message.GetOptions().map_entry
    types = {name: message.fields_by_name["value" if entry else name].message_type for name in value}
    return {name: _wire_form(inner, types[name]) for name, inner in value.items()}


def _camel_case(path: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found.group(1).upper(), path)
