"""The context of a graph's nodes as LangGraph takes it: its JSON schema, and the check of a value."""

from collections.abc import Mapping
from typing import Any

import typing_extensions
from graphmesh_chassis.errors import FieldViolation
from graphmesh_contracts.keys import SERVER_KEYS
from langgraph.pregel import Pregel
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from graphmesh_nodes.graph_inputs import REQUIRED, is_constructed, is_model, model_violations, required_fields
from graphmesh_nodes.json_schemas import portable_type, violations_of

FIELD = "context"


class GraphContext:
    """The context of one graph."""

    def __init__(self, graph: Pregel[Any, Any, Any, Any]) -> None:
        self._type = graph.context_schema
        self.schema: Mapping[str, Any] = _json_schema(self._type) if self._type is not None else {}
        """The JSON schema that is published; empty where the graph declares no context."""
        self._model = TypeAdapter(self._type) if self._type is not None and is_model(self._type) else None

    def violations(self, context: Mapping[str, Any] | None, *, is_partial: bool = False) -> tuple[FieldViolation, ...]:
        """Return what the graph's own type would refuse; a run without a context has an empty one.

        Without one the members of a TypedDict are not required, as in LangGraph, which constructs none.

        A partial context, which runs complete, may lack members at its first level.
        """
        found = self._violations(context)
        return tuple(one for one in found if not _is_missing_member(one)) if is_partial else found

    def _violations(self, context: Mapping[str, Any] | None) -> tuple[FieldViolation, ...]:
        if self._type is None:
            return (FieldViolation(FIELD, "is given, and the graph has no context_schema"),) if context else ()
        if context is None and not is_constructed(self._type):  # LangGraph takes none for a TypedDict
            return ()
        if self._model is None:
            return violations_of(self.schema, context or {}, FIELD)
        try:
            self._model.validate_python(context or {})
        except ValidationError as error:
            return tuple(model_violations(error, FIELD))
        return ()

    def of_run(self, context: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return the context to execute the graph with; None where it declares none."""
        return dict(context or {}) if self._type is not None else None


def _is_missing_member(violation: FieldViolation) -> bool:
    return violation.description == REQUIRED and violation.field.count(".") == 1


def _json_schema(context: Any) -> dict[str, Any]:
    try:
        schema = TypeAdapter(portable_type(context)).json_schema()
    except PydanticUserError:  # fields without a schema take any value, as in LangGraph
        names = typing_extensions.get_type_hints(context)
        schema = {"type": "object", "properties": {name: {} for name in names}, "required": required_fields(context)}
    return {**schema, "additionalProperties": False}


def configurable_violations(configurable: Mapping[str, Any]) -> tuple[FieldViolation, ...]:
    """Return the keys that a run may not set, as LangGraph or the orchestrator sets them."""
    reserved = [name for name in configurable if _is_reserved(name)]
    return tuple(FieldViolation(f"configurable.{name}", "is set by the orchestrator") for name in reserved)


def configurable_with(context: Mapping[str, Any] | None, configurable: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a run's configurable over the members of its context, as LangGraph's server shows them to nodes."""
    members = {name: member for name, member in (context or {}).items() if not _is_reserved(name)}
    return {**members, **(configurable or {})}


def _is_reserved(name: str) -> bool:
    return name in SERVER_KEYS or name.startswith("__")
