"""The HTTP requests of a method: `google.api.http`, and the path that Envoy gives to every method."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

VARIABLE = re.compile(r"\{([^{}=]+)(?:=([^{}]+))?\}")
LEAVES = {
    "Timestamp",
    "Duration",
    "FieldMask",
    *(f"{name}Value" for name in ("String", "Bytes", "Bool", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double")),
}
"""The messages of google.protobuf that a query parameter can have."""


@dataclass(frozen=True)
class Binding:
    """One verb and path of a method."""

    verb: str
    path: str
    """In OpenAPI's form: `/v1/runs/{run_id}:cancel`."""
    body: str
    """`*` for the whole request, a field, or empty for no body."""
    variables: dict[str, str] = field(default_factory=dict)
    """The pattern of each path parameter, by its field; empty where it is one segment."""


def bindings(method: MethodDescriptor) -> list[Binding]:
    """Return the bindings that a method declares, and for one that declares none that of Envoy's `auto_mapping`."""
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return [Binding("post", f"/{method.containing_service.full_name}/{method.name}", "*")]
    rule: http_pb2.HttpRule = options.Extensions[annotations_pb2.http]
    return [_binding(one) for one in (rule, *rule.additional_bindings)]


def query_fields(
    message: Descriptor, left_out: set[str], prefix: str = "", inside: tuple[str, ...] = ()
) -> Iterator[tuple[str, FieldDescriptor]]:
    """Yield the fields that a query can have, with their paths. Maps and lists of messages have no form."""
    for one in message.fields:
        path = f"{prefix}{one.name}"
        if path in left_out:
            continue
        kind = one.message_type
        if kind is None or kind.full_name.removeprefix("google.protobuf.") in LEAVES:
            yield path, one
        elif not one.is_repeated and not _is_foreign(kind) and kind.full_name not in inside:
            yield from query_fields(kind, left_out, f"{path}.", (*inside, kind.full_name))


def _is_foreign(message: Descriptor) -> bool:
    return message.file.package == "google.protobuf"


def _binding(rule: http_pb2.HttpRule) -> Binding:
    kind = str(rule.WhichOneof("pattern"))
    custom = rule.custom if kind == "custom" else None
    template = custom.path if custom else str(getattr(rule, kind))
    variables = {name: _pattern(segments) for name, segments in VARIABLE.findall(template)}
    return Binding(custom.kind.lower() if custom else kind, VARIABLE.sub(r"{\1}", template), rule.body, variables)


def _pattern(segments: str) -> str:
    """Return the pattern of `projects/*/topics/**`; empty for one segment."""
    if segments in {"", "*"}:
        return ""
    parts = ({"*": "[^/]+", "**": ".*"}.get(part, re.escape(part)) for part in segments.split("/"))
    return f"^{'/'.join(parts)}$"
