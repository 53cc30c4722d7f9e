"""Assistants as values, and the run that one configures."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from graphmesh_orchestrator.runs.run import Run

MAX_VERSIONS = 100
"""The newest versions of an assistant that are kept."""

Object = dict[str, Any]
"""A JSON object."""


@dataclass(frozen=True)
class Configuration:
    """The content of one version of an assistant."""

    graph: str
    name: str = ""
    """Unique in the tenant; empty for none."""
    description: str = ""
    context: Object | None = None
    configurable: Object | None = None
    recursion_limit: int = 0
    """0: that of the graph."""
    metadata: Object | None = None


@dataclass(frozen=True)
class Assistant:
    """A version of an assistant."""

    tenant: str
    assistant_id: str
    version: int
    configuration: Configuration
    created: datetime
    """When the assistant was created."""
    updated: datetime
    """When the version was made."""


def configured(run: Run, assistant: Assistant) -> Run:
    """Return a run of an assistant's graph, with its context and configurable under what the run states itself."""
    given, request = assistant.configuration, run.request
    return replace(
        run,
        identity=replace(run.identity, graph=given.graph),
        request=replace(
            request,
            context=_merged(given.context, request.context),
            configurable=_merged(given.configurable, request.configurable),
            recursion_limit=request.recursion_limit or given.recursion_limit,
            assistant_id=assistant.assistant_id,
            assistant_version=assistant.version,
        ),
    )


def merged_metadata(metadata: Object | None, changes: Mapping[str, Any]) -> Object | None:
    """Return metadata with changes applied, of which null deletes a member."""
    merged = {name: value for name, value in {**(metadata or {}), **changes}.items() if value is not None}
    return merged or None


def contains(value: Any, part: Any) -> bool:
    """Whether a JSON value equals `part`, or is an object that contains each member of it."""
    if isinstance(part, Mapping):
        return isinstance(value, Mapping) and all(
            name in value and contains(value[name], member) for name, member in part.items()
        )
    return type(value) is type(part) and bool(value == part)


def _merged(below: Object | None, above: Object | None) -> Object | None:
    return above if below is None else {**below, **(above or {})}
