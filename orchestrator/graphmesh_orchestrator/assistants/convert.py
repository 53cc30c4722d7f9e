"""Conversion between messages and values of assistants."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from google.protobuf.struct_pb2 import Struct
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import FieldViolation, InvalidRequest
from graphmesh_chassis.large_values import size_of
from graphmesh_chassis.timestamps import to_timestamp
from graphmesh_contracts import to_struct

from graphmesh_orchestrator.assistants.assistant import Assistant, Configuration, Object, merged_metadata
from graphmesh_orchestrator.runs.convert import json_object

MAX_METADATA_BYTES = 16 * 1024
MAX_METADATA_ELEMENTS = 1000

SCALARS: tuple[Literal["graph", "name", "description", "recursion_limit"], ...] = (
    "graph",
    "name",
    "description",
    "recursion_limit",
)
Request = pb.CreateAssistantRequest | pb.UpdateAssistantRequest


def new_assistant(request: pb.CreateAssistantRequest, tenant: str, now: datetime) -> Assistant:
    """Return the first version of the assistant of a request. Raises InvalidRequest as `json_object`."""
    configuration = Configuration(
        graph=request.graph,
        name=request.name,
        description=request.description,
        context=_object(request, "context"),
        configurable=_object(request, "configurable"),
        recursion_limit=request.recursion_limit,
        metadata=_object(request, "metadata"),
    )
    return Assistant(tenant, request.assistant_id or f"asst_{uuid4().hex}", 1, configuration, now, now)


def changed(configuration: Configuration, request: pb.UpdateAssistantRequest) -> Configuration:
    """Return a configuration with the changes of a request.

    Raises:
        InvalidRequest: as `json_object`, or there is more metadata than its bounds allow.
    """
    changes: dict[str, Any] = {name: getattr(request, name) for name in SCALARS if request.HasField(name)}
    if request.HasField("context"):
        changes["context"] = _object(request, "context")
    if request.HasField("configurable"):
        changes["configurable"] = _object(request, "configurable")
    if request.HasField("metadata"):
        changes["metadata"] = merged_metadata(configuration.metadata, json_object(request.metadata, "metadata"))
        _check_metadata(changes["metadata"])
    return replace(configuration, **changes)


def assistant_message(assistant: Assistant) -> pb.Assistant:
    given = assistant.configuration
    return pb.Assistant(
        assistant_id=assistant.assistant_id,
        version=assistant.version,
        graph=given.graph,
        name=given.name,
        description=given.description,
        context=_struct(given.context),
        configurable=_struct(given.configurable),
        recursion_limit=given.recursion_limit,
        metadata=_struct(given.metadata),
        create_time=to_timestamp(assistant.created),
        update_time=to_timestamp(assistant.updated),
    )


def _object(request: Request, field: Literal["context", "configurable", "metadata"]) -> Object | None:
    """Return a field as JSON; None where it is absent or empty."""
    return json_object(getattr(request, field), field) or None


def _struct(value: Mapping[str, Any] | None) -> Struct | None:
    return None if value is None else to_struct(value)


def _check_metadata(metadata: Object | None) -> None:
    """Raises InvalidRequest."""
    if (elements := size_of(metadata).elements) > MAX_METADATA_ELEMENTS:
        raise _invalid(f"has {elements} members and elements after the change, it may have {MAX_METADATA_ELEMENTS}")
    if (size := to_struct(metadata or {}).ByteSize()) > MAX_METADATA_BYTES:
        raise _invalid(f"has {size} bytes after the change, it may have {MAX_METADATA_BYTES}")


def _invalid(rule: str) -> InvalidRequest:
    return InvalidRequest(violations=[FieldViolation("metadata", rule)])
