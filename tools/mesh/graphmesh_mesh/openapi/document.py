"""The OpenAPI 3.1 document of the services at the edge: a pure function of the mesh."""

import json
import re
from collections.abc import Iterator
from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from graphmesh_contracts import Idempotency, MethodPolicy
from graphmesh_contracts.comments import comments_of

from graphmesh_mesh.envoy.documents import TENANT_HEADER, Document
from graphmesh_mesh.openapi.bindings import Binding, bindings, query_fields
from graphmesh_mesh.openapi.errors import STATUS, error_responses
from graphmesh_mesh.openapi.schemas import Schemas, required_fields
from graphmesh_mesh.revoked import TENANT
from graphmesh_mesh.topology import Mesh

OPENAPI = "openapi.json"
"""The name of the file beside Envoy's."""
TENANT_PATTERN = f"^{TENANT}$"
PARAMETERS: dict[str, Document] = {
    "tenant": {
        "name": TENANT_HEADER,
        "in": "header",
        "description": "The tenant of the call; without it, the tenant `default`.",
        "schema": {"type": "string", "pattern": TENANT_PATTERN},
    },
    "idempotency-key": {
        "name": "idempotency-key",
        "in": "header",
        "required": True,
        "description": "Names the effect: a repeat with the same key gets the stored response, and changes nothing.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
}
TOKEN: Document = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "Its claims are the tenant, the subject and the roles of the caller; roles have scopes.",
}
INFO: Document = {
    "title": "graphmesh",
    "version": "1",
    "description": (
        "The JSON form of the gRPC API, transcoded by the edge. Fields that have their zero value are left out of "
        "responses. Errors have the reason of their `google.rpc.ErrorInfo`: decide by it, never by the message."
    ),
}


def openapi(mesh: Mesh) -> bytes:
    """Return the document, with a line for each path and each schema, so that changes of it can be read."""
    document = openapi_document(mesh)
    text = [f"{json.dumps(key)}: {_lines(value)}" for key, value in document.items()]
    return ("{\n" + ",\n".join(text) + "\n}\n").encode()


def openapi_document(mesh: Mesh) -> Document:
    schemas, paths = Schemas(), dict[str, Document]()
    has_tokens = mesh.edge.identity == "tokens"
    services = [mesh.services[name] for name in mesh.edge.services]
    for service in services:
        for method, policy in service.method_policies.items():
            for path, verb, operation in operations(method, policy, schemas, has_tokens=has_tokens):
                paths.setdefault(path, {})[verb] = operation
    return {
        "openapi": "3.1.0",
        "info": INFO,
        "servers": [{"url": "/"}],
        "tags": [_tag(one) for service in services for one in service.descriptors],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted({**schemas.components, "google.rpc.Status": STATUS}.items())),
            "parameters": PARAMETERS,
            **({"securitySchemes": {"token": TOKEN}} if has_tokens else {}),
        },
    }


def operations(
    method: MethodDescriptor, policy: MethodPolicy, schemas: Schemas, *, has_tokens: bool
) -> Iterator[tuple[str, str, Document]]:
    """Yield path, verb and operation of each binding of a method. Streams of requests have no JSON form."""
    if method.client_streaming:
        return
    service = method.containing_service
    for number, binding in enumerate(bindings(method)):
        operation: Document = {
            "operationId": f"{service.name}_{method.name}{f'_{number + 1}' if number else ''}",
            "tags": [service.full_name],
            **_described(method),
            "parameters": parameters(method, binding, policy, schemas, has_tokens=has_tokens),
            **_body(method, binding, schemas),
            "responses": {"200": _success(method, schemas), **error_responses(method, policy)},
            "x-required-scopes": sorted(policy.scopes),
            **({"security": [{"token": []}]} if has_tokens else {}),
        }
        yield binding.path, binding.verb, operation


def parameters(
    method: MethodDescriptor, binding: Binding, policy: MethodPolicy, schemas: Schemas, *, has_tokens: bool
) -> list[Document]:
    """Return the parameters: the variables of the path, what the body lacks as a query, and headers."""
    found = []
    for path, pattern in binding.variables.items():
        field = _field(method, path)
        shape = {"pattern": pattern} if pattern else {}
        found.append(_parameter(path, "path", {**schemas.of_field(field), **shape}, required=True))
    if binding.body != "*":
        left_out = {*binding.variables, *([binding.body] if binding.body else [])}
        for path, field in query_fields(method.input_type, left_out):
            is_required = "." not in path and field.name in required_fields(method.input_type)
            found.append(_parameter(_json_path(method, path), "query", schemas.of_field(field), required=is_required))
    if not has_tokens:
        found.append({"$ref": "#/components/parameters/tenant"})
    if policy.idempotency is Idempotency.EFFECT:
        found.append({"$ref": "#/components/parameters/idempotency-key"})
    return found


def _parameter(name: str, place: str, schema: Document, *, required: bool) -> Document:
    description = schema.pop("description", "")
    return {
        "name": name,
        "in": place,
        **({"required": True} if required else {}),
        **({"description": description} if description else {}),
        "schema": schema,
    }


def _body(method: MethodDescriptor, binding: Binding, schemas: Schemas) -> Document:
    if not binding.body:
        return {}
    message = method.input_type
    if binding.body != "*":
        schema, required = schemas.of_field(_field(method, binding.body)), binding.body in required_fields(message)
    elif binding.variables:
        left_out = {name for name in binding.variables if "." not in name}
        schema = schemas.of_fields(message, left_out)
        required = "required" in schema
    else:
        schema, required = schemas.of_message(message), bool(required_fields(message))
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def _success(method: MethodDescriptor, schemas: Schemas) -> Document:
    answer = {"application/json": {"schema": schemas.of_message(method.output_type)}}
    if method.server_streaming:
        return {"description": "A stream of lines, each of which is one JSON object.", "content": answer}
    return {"description": "The response.", "content": answer}


def _described(method: MethodDescriptor) -> Document:
    """Return summary and description: the comment, without the list of reasons, which the responses have."""
    text = comments_of(method.containing_service.file).get(method.full_name, "")
    before, _, last = text.rpartition("\n\n")
    text = before if last.startswith("Reasons: ") else text
    sentence = re.match(r"(.*?[.:])(\s|$)", text, re.DOTALL)
    found = {"summary": " ".join(sentence[1].split())} if sentence else {}
    found |= {"description": text} if text else {}
    return found | ({"deprecated": True} if method.GetOptions().deprecated else {})


def _tag(service: ServiceDescriptor) -> Document:
    text = comments_of(service.file).get(service.full_name, "")
    return {"name": service.full_name, **({"description": text} if text else {})}


def _field(method: MethodDescriptor, path: str) -> FieldDescriptor:
    *outer, last = path.split(".")
    message = method.input_type
    for name in outer:
        message = cast(Descriptor, message.fields_by_name[name].message_type)
    return message.fields_by_name[last]


def _json_path(method: MethodDescriptor, path: str) -> str:
    parts = path.split(".")
    return ".".join(_field(method, ".".join(parts[: end + 1])).json_name for end in range(len(parts)))


def _lines(value: object, depth: int = 0) -> str:
    """Return the JSON of a value, with a line for each member of the two outermost levels."""
    if not isinstance(value, dict) or not value or depth == 2:
        return json.dumps(value, ensure_ascii=False)
    pad = "  " * (depth + 1)
    members = [f"{pad}{json.dumps(key)}: {_lines(one, depth + 1)}" for key, one in value.items()]
    return "{\n" + ",\n".join(members) + f"\n{'  ' * depth}}}"
