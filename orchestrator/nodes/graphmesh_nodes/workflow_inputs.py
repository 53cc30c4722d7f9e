"""The input of a functional workflow: what its function takes, as an object.

A function that takes an object has it as its input; any other value is the only member of an object, under the name of
the function's parameter.
"""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, cast, get_origin

import typing_extensions
from graphmesh_chassis.errors import FieldViolation
from langgraph.channels.base import BaseChannel
from langgraph.constants import START
from langgraph.pregel import Pregel
from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError

from graphmesh_nodes.json_schemas import portable_type, violations_of


class WorkflowInput:
    """The input of one workflow, as `GraphInput` is of a graph."""

    def __init__(self, workflow: Pregel[Any, Any, Any, Any]) -> None:
        taken = cast(BaseChannel[Any, Any, Any], workflow.channels[START]).UpdateType
        self._parameter = "" if _is_object(taken) else _parameter_of(workflow)
        schema = _json_schema(taken)
        definitions = schema.pop("$defs", {})
        self.schema: Mapping[str, Any] = (
            {
                "type": "object",
                "properties": {self._parameter: schema},
                "required": [self._parameter],
                "additionalProperties": False,
                "$defs": definitions,
            }
            if self._parameter
            else {**schema, "$defs": definitions}
        )

    def by_channel(self, value: Mapping[str, Any]) -> Any:
        """Return what the function takes."""
        return value[self._parameter] if self._parameter else dict(value)

    def violations(
        self, value: Mapping[str, Any], stored: Mapping[str, Any], field: str = "input"
    ) -> tuple[FieldViolation, ...]:
        """Return what does not fit the function's parameter. A workflow takes a new input in each run."""
        return violations_of(self.schema, value, field)


def _is_object(taken: Any) -> bool:
    if typing_extensions.is_typeddict(taken) or get_origin(taken) in (dict, Mapping):
        return True
    return isinstance(taken, type) and (issubclass(taken, dict | BaseModel) or dataclasses.is_dataclass(taken))


def _parameter_of(workflow: Pregel[Any, Any, Any, Any]) -> str:
    [node] = workflow.nodes.values()
    function = getattr(node.bound, "afunc", None) or getattr(node.bound, "func", None)
    return next(iter(inspect.signature(function).parameters)) if function else "input"


def _json_schema(taken: Any) -> dict[str, Any]:
    try:
        return TypeAdapter(portable_type(taken)).json_schema()
    except PydanticUserError:  # any value, as in LangGraph
        return {}
