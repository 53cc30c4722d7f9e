"""Tools for models, made from RPCs.

    tool = tool_schema(BillingService.Refund)
    model.bind_tools([tool.openai])
    request = tool.parse(call["args"])

A tool's schema is its request message, with the rules of the proto as far as JSON Schema can express them, described by
the proto's comments. The metadata of a call (effect key, tenant, run) has no field in it, ever: the orchestrator sets
it, not a model.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
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

from graphmesh_nodes.argument_forms import in_form_of
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
class Scope:
    """What the schema of a message depends on besides the message."""

    bound: frozenset[str] = frozenset()
    """The names of fields that code sets and no model, at whichever depth."""
    parents: tuple[str, ...] = ()
    """The messages around it."""


@dataclass(frozen=True)
class ToolSchema(Generic[RequestT]):
    """A tool as models see it, and the conversion of their arguments to requests."""

    rpc: Rpc[RequestT, Any]
    description: str
    parameters: Schema
    bound: frozenset[str] = frozenset()
    """The names of fields that are not in the schema, whose values `parse` takes from code."""

    @property
    def name(self) -> str:
        """The tool's name in the characters that vendors allow: `billing_Refund`."""
        return self.rpc.tool.replace(".", "_")

    @property
    def openai(self) -> Schema:
        """The form that LangChain's `bind_tools` and most vendors take."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}

    def parse(self, arguments: Mapping[str, Any], bound: Mapping[str, Any] = MappingProxyType({})) -> RequestT:
        """Convert a model's arguments to the request.

        Args:
            bound: the values of the bound fields, as JSON, for the request and for each message in the arguments.

        Raises:
            InvalidRequest: they break the schema or a rule of the proto; it names every bad field, also unknown ones
                and those that are bound.
        """
        arguments = in_form_of(self.parameters, dict(arguments))
        if broken := violations_of(self.parameters, arguments, ""):
            raise InvalidRequest(violations=[self._explained(one) for one in broken], tool=self.name)
        message = self.rpc.descriptor.input_type
        complete = _with_bound(arguments, message, bound) if bound else arguments
        try:
            request = json_format.ParseDict(_wire_form(complete, message), self.rpc.request())
        except json_format.ParseError as error:
            raise InvalidRequest(violations=[FieldViolation("arguments", str(error))], tool=self.name) from error
        if broken := violations(request):
            raise InvalidRequest(violations=broken, tool=self.name)
        return request

    def _explained(self, violation: FieldViolation) -> FieldViolation:
        is_bound = violation.field.rpartition(".")[2] in self.bound
        return FieldViolation(violation.field, "is set by the run, never by a call") if is_bound else violation


def tool_schema(rpc: Rpc[RequestT, Any], bound: Iterable[str] = ()) -> ToolSchema[RequestT]:
    """Return the tool of an RPC.

    Args:
        bound: names of fields that code sets and no model, at whichever depth of the request.

    Raises:
        ValueError: its policy does not show it to models, or no schema can express its request.
    """
    return _tool_schema(rpc, frozenset(bound))


@cache  # which loses the type of the request
def _tool_schema(rpc: Rpc[Any, Any], bound: frozenset[str]) -> ToolSchema[Any]:
    if not method_policy(rpc.descriptor).visible_to_models:
        raise ValueError(f"{rpc.tool} is not for models: its policy does not declare LLM_VISIBILITY_VISIBLE")
    description = REASONS.sub("", _comment(rpc.full_name, rpc.descriptor.containing_service.file)).strip()
    if (fields := _expanded_fields(rpc.descriptor.input_type, {})) > MAX_FIELDS:
        raise ValueError(f"{rpc.tool} has {fields:,} fields, its messages expanded; a tool has at most {MAX_FIELDS:,}")
    return ToolSchema(rpc, description, _message_schema(rpc.descriptor.input_type, Scope(bound)), bound)


def tool_schemas(handles: type[Any], bound: Iterable[str] = ()) -> list[ToolSchema[Any]]:
    """Return the tools of a service, `graphmesh.billing.v1.BillingService`: of its RPCs that are visible to models."""
    rpcs, names = [member for member in vars(handles).values() if isinstance(member, Rpc)], frozenset(bound)
    return [tool_schema(rpc, names) for rpc in rpcs if method_policy(rpc.descriptor).visible_to_models]


def field_names(message: Descriptor, seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the names of the fields of a message, and of those inside of it."""
    known = seen | {message.full_name}
    inner = [field.message_type for field in message.fields if field.message_type]
    own = frozenset(field.name for field in message.fields)
    return own.union(*(field_names(each, known) for each in inner if each.full_name not in known))


def _expanded_fields(message: Descriptor, known: dict[str, int]) -> int:
    """Count the fields of a schema, in which a message is repeated wherever it is used. `known` are counts by name."""
    if message.full_name not in known:
        known[message.full_name] = 0  # while it is counted: a message inside itself has no schema anyway
        inner = [field.message_type for field in message.fields if field.message_type is not None]
        known[message.full_name] = len(message.fields) + sum(_expanded_fields(one, known) for one in inner)
    return known[message.full_name]


def _message_schema(message: Descriptor, scope: Scope) -> Schema:
    if message.full_name in WELL_KNOWN:
        return dict(WELL_KNOWN[message.full_name])
    if message.full_name in scope.parents or message.full_name == "google.protobuf.Any":
        raise ValueError(f"{message.full_name} contains messages of any depth or type: no tool schema can express that")
    inner = Scope(scope.bound, (*scope.parents, message.full_name))
    fields = [field for field in message.fields if not _is_hidden(field, scope.bound)]
    required = _required(message)
    return {
        "type": "object",
        "properties": {field.name: _field_schema(field, message.file, inner) for field in fields},
        "required": [field.name for field in fields if field.name in required],
        "additionalProperties": False,
    }


def _is_hidden(field: FieldDescriptor, bound: frozenset[str]) -> bool:
    """Whether code sets a field: one that is bound, or that would take the place of one in its oneof."""
    alternatives = field.containing_oneof.fields if field.containing_oneof else (field,)
    return field.name in HIDDEN_FIELDS or any(one.name in bound for one in alternatives)


def _required(message: Descriptor) -> frozenset[str]:
    """Return the required fields: those about which the empty message breaks a rule."""
    return frozenset(violation.field for violation in violations(GetMessageClass(message)()))


def _field_schema(field: FieldDescriptor, file: FileDescriptor, scope: Scope) -> Schema:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    schema = _field_type(field, rules, scope)
    text = " ".join(filter(None, (_comment(field.full_name, file), _oneof_note(field))))
    return {**schema, "description": text} if text else schema


def _field_type(field: FieldDescriptor, rules: Any, scope: Scope) -> Schema:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _map_schema(field.message_type, rules.map, scope)
    if field.is_repeated:
        items = _value_schema(field, rules.repeated.items, scope)
        return {"type": "array", "items": items, **_keywords(rules.repeated)}
    return _value_schema(field, rules, scope)


def _map_schema(entry: Descriptor, rules: Any, scope: Scope) -> Schema:
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    names = _value_schema(key, rules.keys, scope) if key.type == FieldDescriptor.TYPE_STRING else {}
    values = _value_schema(value, rules.values, scope)
    return {"type": "object", "propertyNames": names, "additionalProperties": values, **_keywords(rules)}


def _value_schema(field: FieldDescriptor, rules: Any, scope: Scope) -> Schema:
    """Return the schema of one value of `field`, whether it is repeated or not."""
    if field.message_type is not None:
        return _message_schema(field.message_type, scope)
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


def _with_bound(value: Any, message: Descriptor | None, bound: Mapping[str, Any]) -> Any:
    """Return the arguments of a message with the bound fields set, in those of messages inside of it too."""
    if message is None or message.full_name in WELL_KNOWN:
        return value
    if isinstance(value, list):
        return [_with_bound(each, message, bound) for each in value]
    is_entry = message.GetOptions().map_entry
    types = {name: message.fields_by_name["value" if is_entry else name].message_type for name in value}
    inner = {name: _with_bound(each, types[name], bound) for name, each in value.items()}
    own = () if is_entry else [field for field in message.fields if field.name in bound]
    return {**inner, **{field.name: [bound[field.name]] if field.is_repeated else bound[field.name] for field in own}}


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
