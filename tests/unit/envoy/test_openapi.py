"""The OpenAPI document: what it says is what the servers and the edge do."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from buf.validate import validate_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass
from graphmesh_chassis.identity import TENANT_RULE
from graphmesh_mesh.openapi.document import TENANT_PATTERN, openapi_document
from graphmesh_mesh.openapi.rules import portable
from graphmesh_mesh.openapi.schemas import Schemas
from graphmesh_mesh.topology import load
from jsonschema import Draft202012Validator
from protovalidate import collect_violations

ROOT = Path(__file__).parents[3]
EVERY = load(ROOT / "deploy/mesh.yaml")
TYPES = descriptor_pb2.FieldDescriptorProto


@cache
def everything() -> Any:
    """The document of a mesh whose edge has all services."""
    edge = EVERY.edge.model_copy(update={"services": tuple(EVERY.services)})
    return openapi_document(EVERY.model_copy(update={"edge": edge}))


def operations() -> Iterator[tuple[str, str, Any]]:
    for path, verbs in everything()["paths"].items():
        for verb, operation in verbs.items():
            yield path, verb, operation


def test_it_has_every_method_and_its_reasons() -> None:
    """Reasons by HTTP status, scopes, and the key of effects."""
    found = {operation["operationId"]: operation for _, _, operation in operations()}
    methods = [method for service in EVERY.services.values() for method in service.method_policies]
    assert {f"{method.containing_service.name}_{method.name}" for method in methods} <= found.keys()
    cancel, charge = found["RunService_CancelRun"], found["BillingService_Charge"]
    assert "RESOURCE_NOT_FOUND" in cancel["responses"]["404"]["description"]
    assert "UNAUTHENTICATED" in cancel["responses"]["401"]["description"]
    assert "IDEMPOTENCY_KEY_REUSED" in charge["responses"]["400"]["description"]
    assert "IDEMPOTENCY_KEY_REUSED" not in cancel["responses"]["400"]["description"]
    assert charge["x-required-scopes"] == ["billing.charge"]
    key = {"$ref": "#/components/parameters/idempotency-key"}
    assert (key in charge["parameters"], key in cancel["parameters"]) == (True, False)


def test_the_paths_are_those_of_the_transcoder() -> None:
    """Variables of the path are not in the body; what the body lacks is in the query."""
    paths = everything()["paths"]
    waited = {one.get("name"): one for one in paths["/v1/runs/{run_id}:wait"]["get"]["parameters"]}
    assert (waited["run_id"]["in"], waited["run_id"]["required"]) == ("path", True)
    assert waited["maxWait"]["in"] == "query"
    body = paths["/v1/runs/{run_id}:cancel"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "reason" in body["properties"]
    assert "runId" not in body["properties"]
    run = paths["/v1/runs:execute"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert run["$ref"].endswith("graphmesh.orchestrator.v1.CreateRunRequest")
    assert "/graphmesh.billing.v1.BillingService/Charge" in paths


def test_the_tenant_has_the_servers_rule() -> None:
    assert f"^{TENANT_RULE.pattern}$" == TENANT_PATTERN


@pytest.mark.parametrize(
    ("pattern", "other"),
    [
        ("^[a-z]+$", "^[a-z]+$"),
        (r"\A[a-z]+\z", "^[a-z]+$"),
        (r"^[^\s@\p{Cc}]+$", r"^[^\s@\x00-\x1f\x7f-\x9f]+$"),
        (r"^\pL+$", ""),
        ("(?i)abc", ""),
    ],
)
def test_patterns_that_other_dialects_lack_are_described(pattern: str, other: str) -> None:
    assert portable(pattern) == other


RULES: dict[str, tuple[Any, str, list[Any]]] = {
    "text": (TYPES.TYPE_STRING, "string {min_len: 2 max_len: 4}", ["", "a", "ab", "abcd", "abcde", "\u00e9\u00e9"]),
    "exact": (TYPES.TYPE_STRING, "string {len: 3}", ["", "ab", "abc", "abcd"]),
    "pattern": (TYPES.TYPE_STRING, 'string {pattern: "^[a-z]+$"}', ["", "abc", "ABC"]),
    "optional": (
        TYPES.TYPE_STRING,
        'ignore: IGNORE_IF_ZERO_VALUE string {pattern: "^[a-z]+$" min_len: 2}',
        ["", "a", "abc", "ABC"],
    ),
    "parts": (
        TYPES.TYPE_STRING,
        'string {prefix: "a." suffix: "z" contains: "m+" not_contains: "(n"}',
        ["a.m+z", "a.mz", "b.m+z", "a.m+", "a.m+(nz", "axm+z"],
    ),
    "nul": (TYPES.TYPE_STRING, r'string {not_contains: "\000"}', ["", "a", "a\0b"]),
    "text_choice": (TYPES.TYPE_STRING, 'string {in: ["a", "b"]}', ["", "a", "c"]),
    "text_exclusion": (TYPES.TYPE_STRING, 'string {not_in: ["a", "b"]}', ["", "a", "c"]),
    "text_const": (TYPES.TYPE_STRING, 'string {const: "a"}', ["a", "b"]),
    "small": (TYPES.TYPE_INT32, "int32 {gte: -1 lt: 3}", [-2, -1, 0, 2, 3]),
    "outside": (TYPES.TYPE_INT32, "int32 {gt: 5 lt: 1}", [0, 1, 3, 5, 6]),
    "large": (TYPES.TYPE_INT64, "int64 {gt: 0 lte: 10}", [0, 1, 10, 11]),
    "chosen": (TYPES.TYPE_INT64, "int64 {in: [1, 2]}", [1, 3]),
    "zero_or_more": (TYPES.TYPE_INT64, "ignore: IGNORE_IF_ZERO_VALUE int64 {gte: 5}", [0, 4, 5]),
    "unsigned": (TYPES.TYPE_UINT32, "uint32 {lte: 3}", [0, 3, 4]),
    "fraction": (TYPES.TYPE_DOUBLE, "double {gte: 0 lt: 1}", [0.0, 0.5, 1.0]),
    "flag": (TYPES.TYPE_BOOL, "bool {const: true}", [True, False]),
    "data": (TYPES.TYPE_BYTES, "bytes {min_len: 2 max_len: 4}", [b"", b"ab", b"abcd", b"abcdefgh"]),
    "list": (
        TYPES.TYPE_STRING,
        "repeated {min_items: 1 max_items: 2 unique: true items {string {max_len: 2}}}",
        [[], ["a"], ["a", "a"], ["a", "b"], ["a", "b", "c"], ["abc"]],
    ),
    "no_or_long_list": (
        TYPES.TYPE_INT32,
        "ignore: IGNORE_IF_ZERO_VALUE repeated {min_items: 2 items {int32 {gt: 0}}}",
        [[], [1], [1, 2], [0, 1]],
    ),
}
"""Fields by name: type, rules, and values on both sides of each bound."""


def message_with(name: str) -> Descriptor:
    """Return a message with one field, of the rules of that name."""
    kind, text, _ = RULES[name]
    file = descriptor_pb2.FileDescriptorProto(name=f"openapi_{name}.proto", package="openapi.v1", syntax="proto3")
    file.dependency.append("buf/validate/validate.proto")
    made = file.message_type.add(name=f"With_{name}")
    label = TYPES.LABEL_REPEATED if "repeated {" in text else TYPES.LABEL_OPTIONAL
    field = made.field.add(name="value", number=1, type=kind, label=label)
    text_format.Parse(text, field.options.Extensions[validate_pb2.field])
    pool = descriptor_pool.Default()
    pool.Add(file)
    return pool.FindMessageTypeByName(f"openapi.v1.With_{name}")


@pytest.mark.parametrize("name", RULES)
def test_a_schema_accepts_what_the_rules_accept(name: str) -> None:
    """And refuses what they refuse: lengths, patterns, ranges, choices, lists, with and without the zero value."""
    message = message_with(name)
    schemas = Schemas()
    reference = schemas.of_message(message)
    validator = Draft202012Validator({**reference, "components": {"schemas": schemas.components}})
    accepted = []
    for value in RULES[name][2]:
        made = GetMessageClass(message)(value=value)
        wire = {"value": value} if isinstance(value, int) else json_format.MessageToDict(made)
        is_valid = not collect_violations(made)
        assert validator.is_valid(wire) is is_valid, (value, wire)
        accepted.append(is_valid)
    assert set(accepted) == {True, False}


def test_a_body_lists_the_fields_that_a_request_needs() -> None:
    """Those without which the server refuses it, but for the variables of the path."""
    schemas = everything()["components"]["schemas"]
    assert schemas["graphmesh.billing.v1.ChargeRequest"]["required"] == ["amount", "invoiceId"]
    answer = everything()["paths"]["/v1/approvals/{approval_id}:respond"]["post"]["requestBody"]
    assert answer["content"]["application/json"]["schema"]["required"] == ["decision"]
    assert answer["required"] is True
