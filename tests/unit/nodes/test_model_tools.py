"""Tools for models, made from RPCs: the schema is the contract's, and has no field for metadata of the call."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.billing.v1 import BillingService, RefundRequest
from graphmesh.common.v1 import Money
from graphmesh.crm.v1 import CrmService
from graphmesh.model.v1 import ModelService
from graphmesh.policy.v1 import policy_pb2
from graphmesh.retrieval.v1 import RetrievalService
from graphmesh.sql.v1 import SqlService
from graphmesh.ticketing.v1 import TicketingService
from graphmesh_chassis.errors import InvalidRequest
from graphmesh_contracts import Rpc
from graphmesh_nodes import ToolSchema, tool_schema, tool_schemas
from graphmesh_nodes.model_tools import HIDDEN_FIELDS
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

SERVICES = (BillingService, CrmService, RetrievalService, SqlService, TicketingService)
TOOLS = [tool for service in SERVICES for tool in tool_schemas(service)]
REFUND = tool_schema(BillingService.Refund)
GOOD = {"charge_id": "ch_1", "amount": {"currency_code": "EUR", "amount_minor": 500}, "cause": "came broken"}

each_tool = pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema of an object inside of `schema`."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for inner in schema.values():
            yield from objects(inner)


@each_tool
def test_schema_is_valid_and_described_by_the_proto(tool: ToolSchema[Any]) -> None:
    """Closed on every level, with a description of the tool and of each field."""
    Draft202012Validator.check_schema(tool.parameters)
    assert tool.description
    assert "Reasons:" not in tool.description
    for schema in objects(tool.parameters):
        assert schema["additionalProperties"] is False
        assert all(field.get("description") for field in schema["properties"].values())


@each_tool
def test_schema_has_no_field_for_metadata(tool: ToolSchema[Any]) -> None:
    """The orchestrator sets effect key, tenant and run, not the model."""
    fields = {name for schema in objects(tool.parameters) for name in schema["properties"]}
    assert not fields & (HIDDEN_FIELDS | {"idempotency-key"})


def test_schema_has_the_rules_of_the_proto() -> None:
    assert REFUND.openai["function"]["name"] == "billing_Refund"
    assert REFUND.parameters["required"] == ["charge_id", "amount", "cause"]
    properties = REFUND.parameters["properties"]
    assert properties["charge_id"] == {
        "type": "string",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        "description": "The charge to refund.",
    }
    assert (properties["cause"]["minLength"], properties["cause"]["maxLength"]) == (1, 500)
    amount_minor = properties["amount"]["properties"]["amount_minor"]
    assert (amount_minor["type"], amount_minor["maximum"]) == ("integer", 10**15)


def test_only_rpcs_visible_to_models_become_tools() -> None:
    with pytest.raises(ValueError, match=r"billing\.Charge is not for models"):
        tool_schema(BillingService.Charge)
    assert "billing_Charge" not in {tool.name for tool in tool_schemas(BillingService)}
    assert tool_schemas(ModelService) == []


def test_arguments_are_converted_to_the_request() -> None:
    amount = Money(currency_code="EUR", amount_minor=500)
    assert REFUND.parse(GOOD) == RefundRequest(charge_id="ch_1", amount=amount, cause="came broken")


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ({**GOOD, "idempotency_key": "k", "tenant": "shop"}, {"idempotency_key", "tenant"}),
        ({**GOOD, "amount": {**GOOD["amount"], "vat": 1}}, {"amount.vat"}),  # type: ignore[dict-item]
        ({**GOOD, "chargeId": "ch_2"}, {"chargeId"}),
        ({}, {"charge_id", "amount", "cause"}),
        ({**GOOD, "cause": ""}, {"cause"}),
        ({**GOOD, "charge_id": "../ch"}, {"charge_id"}),
        ({**GOOD, "amount": {"currency_code": "EUR", "amount_minor": "500"}}, {"amount.amount_minor"}),
        ({**GOOD, "amount": {"currency_code": "EUR", "amount_minor": -5}}, {"amount"}),
    ],
)
def test_invalid_arguments_name_their_fields(arguments: dict[str, Any], fields: set[str]) -> None:
    """Also unknown fields, and violations of rules that JSON Schema cannot express (the last case)."""
    with pytest.raises(InvalidRequest) as refused:
        REFUND.parse(arguments)
    assert {violation.field for violation in refused.value.violations} == fields


MAX_FLOAT = 3.4e38


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Generate values that match `schema`, one of `tool_schema`."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object" if "properties" in schema:
            return _objects(schema)
        case "object":
            inner = schema.get("additionalProperties", {"type": "string"})
            names = values(schema.get("propertyNames", {"type": "string", "minLength": 1}))
            return st.dictionaries(names, values(inner), max_size=3)
        case "array":
            unique = repr if schema.get("uniqueItems") else None
            return st.lists(values(schema["items"]), min_size=schema.get("minItems", 0), max_size=3, unique_by=unique)
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "number":
            low, high = schema.get("minimum", 0), schema.get("maximum", 1)
            return st.floats(low, high, width=32 if high < MAX_FLOAT else 64)
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "string" if schema.get("contentEncoding") == "base64":
            return st.binary(max_size=20).map(lambda data: b64encode(data).decode())
        case _:
            return _strings(schema)


def _strings(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return st.just("2026-01-02T03:04:05Z")
    if schema.get("format") == "email":
        return st.just("ana@example.org")
    low, high = schema.get("minLength", 0), schema.get("maxLength", 50)
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True).filter(lambda text: low <= len(text) <= high)
    letters = st.characters(codec="utf-8", exclude_characters="\0")
    return st.text(letters, min_size=low, max_size=min(high, low + 20))


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    fields = {name: values(inner) for name, inner in schema["properties"].items()}
    required = {name: fields.pop(name) for name in schema["required"]}
    alternatives = [name for name in fields if "Only one of this" in schema["properties"][name].get("description", "")]
    one_of = st.one_of(st.just({}), *(st.fixed_dictionaries({name: fields.pop(name)}) for name in alternatives))
    others = st.fixed_dictionaries(required, optional=fields)
    return st.tuples(others, one_of).map(lambda parts: {**parts[0], **parts[1]})


@each_tool
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_valid_arguments_survive_a_round_trip(tool: ToolSchema[Any], data: st.DataObject) -> None:
    """The request, written as arguments again, parses to itself. Valid arguments are refused only by rules that the
    schema cannot express."""
    arguments = data.draw(values(tool.parameters))
    Draft202012Validator(tool.parameters).validate(arguments)
    try:
        request = tool.parse(arguments)
    except InvalidRequest:
        event("refused by a rule that the schema cannot express")
        return
    assert tool.parse(written(request)) == request


@each_tool
@settings(max_examples=10, deadline=None)
@given(data=st.data(), name=st.from_regex("[a-z_]{1,20}", fullmatch=True))
def test_unknown_field_is_refused_by_name(tool: ToolSchema[Any], data: st.DataObject, name: str) -> None:
    assume(name not in tool.parameters["properties"])
    arguments = data.draw(values(tool.parameters))
    with pytest.raises(InvalidRequest) as refused:
        tool.parse({**arguments, name: 1})
    assert name in {violation.field for violation in refused.value.violations}


def written(message: Message) -> dict[str, Any]:
    """Convert `message` to arguments of a model: 64-bit integers are numbers, masks are lists (strings in protobuf)."""
    return {field.name: _written(field, value) for field, value in message.ListFields()}


def _written(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, FieldMask):
        return list(value.paths)
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_single(field, each) for each in value]
    return _single(field, value)


def _single(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        name: str = field.enum_type.values_by_number[value].name
        return None if name == "NULL_VALUE" else name
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return written(value) if isinstance(value, Message) else value


def test_field_mask_is_a_list_of_names() -> None:
    tool = tool_schema(CrmService.UpdateCustomer)
    changes = {"customer_id": "cu_1", "customer": {"phone": "+49 1"}, "reason": "asked", "update_mask": ["phone"]}
    assert list(tool.parse(changes).update_mask.paths) == ["phone"]
    with pytest.raises(InvalidRequest, match="must name only"):
        tool.parse({**changes, "update_mask": ["customer_id"]})


def foreign_rpc() -> Rpc[Any, Any]:
    """Make an RPC of another team's contract, with fields of every type and some that are hidden from models."""
    file = descriptor_pb2.FileDescriptorProto(name="depot/v1/depot.proto", package="depot.v1", syntax="proto3")
    file.dependency.extend(["google/protobuf/duration.proto", "graphmesh/policy/v1/policy.proto"])
    request, entry = file.message_type.add(name="StoreRequest"), descriptor_pb2.DescriptorProto(name="LabelsEntry")
    request.oneof_decl.add(name="place")
    types = descriptor_pb2.FieldDescriptorProto
    scalars = {
        "idempotency_key": types.TYPE_STRING,
        "tenant": types.TYPE_STRING,
        "box": types.TYPE_BYTES,
        "weight": types.TYPE_DOUBLE,
        "fragile": types.TYPE_BOOL,
        "shelves": types.TYPE_UINT32,
    }
    for number, (name, scalar) in enumerate(scalars.items(), start=1):
        request.field.add(name=name, number=number, type=scalar, label=types.LABEL_OPTIONAL)
    request.field[5].label = types.LABEL_REPEATED
    for number, name in enumerate(("hall", "yard"), start=10):
        request.field.add(name=name, number=number, type=types.TYPE_STRING, oneof_index=0)
    duration = ".google.protobuf.Duration"
    request.field.add(name="period", number=20, type=types.TYPE_MESSAGE, type_name=duration)
    for number, name in enumerate(("key", "value"), start=1):
        entry.field.add(name=name, number=number, type=types.TYPE_STRING, label=types.LABEL_OPTIONAL)
    entry.options.map_entry = True
    request.nested_type.append(entry)
    labels = ".depot.v1.StoreRequest.LabelsEntry"
    request.field.add(name="labels", number=21, type=types.TYPE_MESSAGE, type_name=labels, label=types.LABEL_REPEATED)
    names = {"input_type": ".depot.v1.StoreRequest", "output_type": ".depot.v1.StoreRequest"}
    method = file.service.add(name="DepotService").method.add(name="Store", **names)
    policy = method.options.Extensions[policy_pb2.method]
    policy.timeout.seconds, policy.max_attempts = 1, 1
    policy.llm_visibility = policy_pb2.LLM_VISIBILITY_VISIBLE
    descriptor_pool.Default().Add(file)
    message = GetMessageClass(descriptor_pool.Default().FindMessageTypeByName("depot.v1.StoreRequest"))
    return Rpc("/depot.v1.DepotService/Store", message, message)


def test_contract_of_another_team_becomes_a_tool() -> None:
    """Every type of field has its schema, with a description where the proto has one; hidden fields are left out."""
    tool = tool_schema(foreign_rpc())
    only_one = "Only one of this and {} may be given."
    assert tool.parameters["properties"] == {
        "box": {"type": "string", "contentEncoding": "base64"},
        "weight": {"type": "number"},
        "fragile": {"type": "boolean"},
        "shelves": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}},
        "hall": {"type": "string", "description": only_one.format("yard")},
        "yard": {"type": "string", "description": only_one.format("hall")},
        "period": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
        "labels": {
            "type": "object",
            "propertyNames": {"type": "string"},
            "additionalProperties": {"type": "string"},
        },
    }
    request = tool.parse({"shelves": [1, 2], "labels": {"a": "b"}, "period": "1.5s", "hall": "north"})
    assert (list(request.shelves), dict(request.labels), request.period.seconds) == ([1, 2], {"a": "b"}, 1)
    with pytest.raises(InvalidRequest, match='multiple "place"'):
        tool.parse({"hall": "north", "yard": "south"})


def test_pattern_of_re2_only_is_not_in_the_schema() -> None:
    """Vendors refuse it. It is checked when arguments are parsed."""
    tool = tool_schema(CrmService.SearchCustomers)
    assert "pattern" not in tool.parameters["properties"]["email"]
    assert tool.parse({"email": "ana@example.org"}).email == "ana@example.org"
    with pytest.raises(InvalidRequest, match="email"):
        tool.parse({"email": "ana"})
