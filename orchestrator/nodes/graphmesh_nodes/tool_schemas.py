"""Tools for models, made of RPCs (D1, H2).

    tool = tool_schema(BillingService.Refund)
    model.bind_tools([tool.openai])
    request = tool.parse(call["args"])

A tool's schema is its request message with the rules of the proto as far as JSON Schema can say them, in the words of
the proto's comments. What a call carries beside its request (effect key, tenant, run) has no field in it, ever: that is
the orchestrator's to say, not a model's (E1).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Generic, TypeVar

from buf.validate import validate_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from graphmesh_chassis.errors import FieldViolation, InvalidRequest
from graphmesh_chassis.validation import violations
from graphmesh_contracts import Rpc, method_policy

from graphmesh_nodes.json_schemas import misfits

RequestT = TypeVar("RequestT", bound=Message)
Schema = dict[str, Any]

NOT_A_MODELS = frozenset({"idempotency_key", "request_id", "tenant", "tenant_id", "run_id", "thread_id"})
"""Fields that no model gets to fill, wherever a contract has them."""
REASONS = re.compile(r"\s*Reasons:.*?(?=\n\n|\Z)", re.DOTALL)
"""What a comment says of failures: for callers who write code."""

FIELD_MASK = "google.protobuf.FieldMask"
WELL_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    FIELD_MASK: {"type": "array", "items": {"type": "string"}},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array"},
}
"""The JSON forms of protobuf's own messages; but field masks are lists of names, as models write them."""

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
"""The JSON forms of single values."""

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
"""The rules of protovalidate that JSON Schema has a word for. The others are checked when arguments are parsed."""
FORMATS = ("email", "uri", "uuid", "ipv4", "ipv6", "hostname")


@dataclass(frozen=True)
class ToolSchema(Generic[RequestT]):
    """A tool as a model sees it, and the way back from what the model says to a request."""

    rpc: Rpc[RequestT, Any]
    description: str
    parameters: Schema

    @property
    def name(self) -> str:
        """The tool's name in the letters that vendors allow: `billing_Refund`."""
        return self.rpc.tool.replace(".", "_")

    @property
    def openai(self) -> Schema:
        """The form that LangChain's `bind_tools` and most vendors take."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}

    def parse(self, arguments: Mapping[str, Any]) -> RequestT:
        """The request that `arguments` stand for.

        Raises:
            InvalidRequest: they break the schema or a rule of the proto; it names every bad field, the unknown too.
        """
        if broken := misfits(self.parameters, arguments, ""):
            raise InvalidRequest(violations=broken, tool=self.name)
        try:
            request = json_format.ParseDict(_wire_form(arguments, self.rpc.descriptor.input_type), self.rpc.request())
        except json_format.ParseError as error:
            raise InvalidRequest(violations=[FieldViolation("arguments", str(error))], tool=self.name) from error
        if broken := violations(request):
            raise InvalidRequest(violations=broken, tool=self.name)
        return request


@cache
def tool_schema(rpc: Rpc[RequestT, Any]) -> ToolSchema[RequestT]:
    """The tool that `rpc` is.

    Raises:
        ValueError: its policy does not show it to models, or its request has a form that no schema can say.
    """
    if not method_policy(rpc.descriptor).visible_to_models:
        raise ValueError(f"{rpc.tool} is not for models: its policy does not say LLM_VISIBILITY_VISIBLE")
    description = REASONS.sub("", _comment(rpc.full_name, rpc.service.rpartition(".")[0])).strip()
    return ToolSchema(rpc, description, _message_schema(rpc.descriptor.input_type, ()))


def tool_schemas(handles: type[Any]) -> list[ToolSchema[Any]]:
    """The tools of a service, `graphmesh.billing.v1.BillingService`: those of its RPCs that are for models."""
    rpcs = [member for member in vars(handles).values() if isinstance(member, Rpc)]
    return [tool_schema(rpc) for rpc in rpcs if method_policy(rpc.descriptor).visible_to_models]


def _message_schema(message: Descriptor, around: tuple[str, ...]) -> Schema:
    if message.full_name in WELL_KNOWN:
        return dict(WELL_KNOWN[message.full_name])
    if message.full_name in around or message.full_name == "google.protobuf.Any":
        raise ValueError(f"{message.full_name} contains any depth or type of message: no tool schema can say that")
    inside = (*around, message.full_name)
    fields = [field for field in message.fields if field.name not in NOT_A_MODELS]
    required = _required(message)
    return {
        "type": "object",
        "properties": {field.name: _field_schema(field, message.file.package, inside) for field in fields},
        "required": [field.name for field in fields if field.name in required],
        "additionalProperties": False,
    }


def _required(message: Descriptor) -> frozenset[str]:
    """The fields that have to be given: those that a message without any field breaks a rule for want of."""
    return frozenset(violation.field for violation in violations(GetMessageClass(message)()))


def _field_schema(field: FieldDescriptor, package: str, around: tuple[str, ...]) -> Schema:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    schema = _shape(field, rules, around)
    text = " ".join(filter(None, (_comment(field.full_name, package), _alternatives(field))))
    return {**schema, "description": text} if text else schema


def _shape(field: FieldDescriptor, rules: Any, around: tuple[str, ...]) -> Schema:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _map_schema(field.message_type, rules.map, around)
    if field.is_repeated:
        items = _single(field, rules.repeated.items, around)
        return {"type": "array", "items": items, **_stated(rules.repeated)}
    return _single(field, rules, around)


def _map_schema(entry: Descriptor, rules: Any, around: tuple[str, ...]) -> Schema:
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    names = _single(key, rules.keys, around) if key.type == FieldDescriptor.TYPE_STRING else {}
    values = _single(value, rules.values, around)
    return {"type": "object", "propertyNames": names, "additionalProperties": values, **_stated(rules)}


def _single(field: FieldDescriptor, rules: Any, around: tuple[str, ...]) -> Schema:
    """The schema of one value of `field`, whether it is repeated or not."""
    if field.message_type is not None:
        return _message_schema(field.message_type, around)
    if field.enum_type is not None:
        return {"type": "string", "enum": _value_names(field.enum_type, rules.enum)}
    kind = rules.WhichOneof("type")
    stated = _stated(getattr(rules, kind)) if kind not in (None, "bytes") else {}
    return _without_idle_bounds({**SCALARS[field.type], **stated})


def _value_names(enum: EnumDescriptor, rules: Any) -> list[str]:
    """The names of the values that a model may say; not that of zero, which is said by leaving the field out."""
    allowed = set(getattr(rules, "in")) or {value.number for value in enum.values}
    barred = {0, *rules.not_in}
    return [value.name for value in enum.values if value.number in allowed - barred]


def _stated(rules: Any) -> Schema:
    """Those of `rules` that are stated and that JSON Schema has a word for."""
    stated = {field.name: value for field, value in rules.ListFields()}
    found: Schema = {RULES[name]: value for name, value in stated.items() if name in RULES}
    if "enum" in found:
        found["enum"] = list(found["enum"])
    if not _is_portable(found.get("pattern", "")):
        del found["pattern"]
    formats = [name for name in FORMATS if stated.get(name)]
    return {**found, "format": formats[0]} if formats else found


def _is_portable(pattern: str) -> bool:
    """Whether `pattern`, which is RE2's, means something outside of it: `\\p{Cc}` does not."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _without_idle_bounds(schema: Schema) -> Schema:
    """Drop the bound of a type where the rules state a tighter one in other words."""
    idle = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}
    return {word: value for word, value in schema.items() if idle.get(word) not in schema}


def _alternatives(field: FieldDescriptor) -> str:
    oneof = field.containing_oneof
    if oneof is None or len(oneof.fields) < 2:
        return ""
    others = ", ".join(other.name for other in oneof.fields if other is not field)
    return f"Only one of this and {others} may be given."


def _comment(name: str, package: str) -> str:
    """What the proto says of it, one line for each paragraph."""
    paragraphs = _comments(package).get(name, "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


@cache
def _comments(package: str) -> Mapping[str, str]:
    """The comments of a contract by full name; none where its package was generated without them."""
    try:
        text = (files(package) / "comments.json").read_text()
    except (ModuleNotFoundError, FileNotFoundError):
        return {}
    comments: Mapping[str, str] = json.loads(text)
    return comments


def _wire_form(value: Any, message: Descriptor | None) -> Any:
    """`value` in protobuf's own JSON, which spells a field mask as one string in camel case."""
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
