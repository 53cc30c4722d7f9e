"""The input of a graph as LangGraph takes it: its JSON schema, and the check of a value before a run begins.

LangGraph takes some or all channels of the input schema by their names, each in the forms that its reducer takes. A
pydantic model or a dataclass is constructed from the channels for each node: what it requires, the input has to have.
"""

import copy
import dataclasses
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Annotated, Any, Literal, cast, get_args

import typing_extensions
from graphmesh_chassis.errors import FieldViolation
from langchain_core.messages import BaseMessage, convert_to_messages
from langgraph.channels import BinaryOperatorAggregate, Topic
from langgraph.channels.base import BaseChannel
from langgraph.graph import StateGraph, add_messages
from pydantic import AliasChoices, AliasPath, BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo

from graphmesh_nodes.json_schemas import MAX_ERRORS, bare_hint, portable_type, violations_of

ROOT = "__root__"
"""LangGraph's name of the only channel of a state without fields, such as that of StateGraph(dict)."""
REQUIRED = "is required"
MAX_RULE = 500
"""Characters of the rule of a violation, which the author of a model may write with the value in it."""
MESSAGE = {"type": ["string", "object", "array"]}
MESSAGES = {
    "description": "Messages in any form that LangChain converts: a text, a message, or an array of them. A message is "
    'a text, an object such as {"role": "user", "content": "hi"}, or an array such as ["user", "hi"].',
    "type": ["string", "object", "array"],
    "items": MESSAGE,
}
"""The JSON schema of a channel with the reducer add_messages."""


class GraphInput:
    """The input of one graph, or the update of its state as if by a node."""

    def __init__(self, builder: StateGraph[Any, Any, Any, Any], *, is_update: bool = False) -> None:
        """Read the schemas. An update may have any part of the graph's state."""
        state = builder.state_schema if is_update else builder.input_schema
        self._model = TypeAdapter(state) if is_model(state) else None
        self._channels = channels_of(builder, state)
        self._messages = [name for name, channel in self._channels.items() if adds_messages(channel)]
        self._names = aliases_of(state)
        is_declared = state is not builder.state_schema and not _is_generated(state)
        is_complete = not is_update and (is_declared or is_constructed(state))
        self._required = [name for name in required_fields(state) if is_complete and name in self._channels]
        self.schema = state_schema(builder, state, self._required)
        """The JSON schema that is published. A field that the graph does not have is refused, not ignored."""

    def partial(self) -> "GraphInput":
        """Return the same for values that may lack any field."""
        partial = copy.copy(self)
        partial._required = []
        return partial

    def by_channel(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return the value with the names of channels in place of their aliases.

        Where it has both, the alias stays, as an unknown field.
        """
        return {name if (name := self._names.get(key, key)) not in value else key: item for key, item in value.items()}

    def violations(
        self, value: Mapping[str, Any], stored: Mapping[str, Any], field: str = "input"
    ) -> tuple[FieldViolation, ...]:
        """Return what LangGraph or the state's own model would refuse: the first `MAX_ERRORS` of it.

        Args:
            stored: the state of the thread by channel, which the value adds to.
            field: the name of the value in the violations.
        """
        named = self.by_channel(value)
        of_schema = violations_of(self._checked(stored), named, field)
        of_messages = islice(_message_violations(named, self._messages, field), MAX_ERRORS - len(of_schema))
        violations = (*of_schema, *of_messages)
        return violations if violations or self._model is None else tuple(self._model_violations(named, stored, field))

    def _checked(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the schema without what is checked by the model, by LangChain, or stored."""
        unchecked = self._channels if self._model else self._messages
        return {
            **self.schema,
            "properties": {**self.schema["properties"], **dict.fromkeys(unchecked, True)},
            "required": [name for name in self._required if not self._model and name not in stored],
        }

    def _model_violations(
        self, value: Mapping[str, Any], stored: Mapping[str, Any], field: str
    ) -> Iterator[FieldViolation]:
        assert self._model is not None
        state = {name: stored[name] for name in self._channels if name in stored}
        for name, item in value.items():
            try:
                channel = self._channels[name]
                channel = channel.from_checkpoint(stored[name]) if name in stored else channel.copy()
                channel.update([item])
                state[name] = channel.get()
            except Exception as error:
                yield FieldViolation(f"{field}.{name}", f"is refused by its reducer: {error!r:.200}")
                return
        try:
            self._model.validate_python(state)
        except ValidationError as error:
            found = model_violations(error, field, self._names)
            lacking = {f"{field}.{name}" for name in self._channels} if not self._required else set()
            yield from (one for one in found if one.field not in lacking or one.description != REQUIRED)


def model_violations(
    error: ValidationError, field: str, names: Mapping[str, str] = MappingProxyType({})
) -> Iterator[FieldViolation]:
    """Yield the first violations of a pydantic model, whose value is `field`; `names` has the names of aliases."""
    for found in error.errors(include_url=False, include_context=False, include_input=False)[:MAX_ERRORS]:
        first = [names.get(str(part), part) for part in found["loc"][:1]]
        path = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in (*first, *found["loc"][1:]))
        rules = {"missing": REQUIRED, "extra_forbidden": "is not a known field"}
        rule = rules.get(found["type"], found["msg"].removeprefix("Value error, "))
        yield FieldViolation(field + "".join(path), rule[:MAX_RULE])


def channels_of(builder: StateGraph[Any, Any, Any, Any], state: Any) -> dict[str, BaseChannel[Any, Any, Any]]:
    """Return the channels of a state type by name, without LangGraph's managed values."""
    fields = builder.schemas.get(state, {})
    return {name: field for name, field in fields.items() if isinstance(field, BaseChannel)}


def state_schema(builder: StateGraph[Any, Any, Any, Any], state: Any, required: Sequence[str] = ()) -> dict[str, Any]:
    """Return the JSON schema of a state type of a graph, with no other fields than its channels."""
    properties, definitions = channel_schemas(builder, state)
    return {
        "title": getattr(state, "__name__", "State"),
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": ROOT in channels_of(builder, state),
        "$defs": definitions,
    }


def channel_schemas(builder: StateGraph[Any, Any, Any, Any], state: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the JSON schemas of what a state's channels take, by name, and their definitions.

    A type without a JSON schema takes any value, as in LangGraph.
    """
    hints, schemas = _hints(state), dict[str, Any]()
    adapters = list[tuple[str, Literal["validation"], TypeAdapter[Any]]]()
    for name, channel in channels_of(builder, state).items():
        if name == ROOT:
            continue
        update = _update_hint(channel, hints[name])
        if adds_messages(channel):
            schemas[name] = MESSAGES
        elif _has_messages(update):
            schemas[name] = {"type": "array", "items": MESSAGE}
        elif adapter := _adapter(update):
            adapters.append((name, "validation", adapter))
        else:
            schemas[name] = {}
    typed, definitions = TypeAdapter.json_schemas(adapters)
    return schemas | {str(name): schema for (name, _), schema in typed.items()}, definitions.get("$defs", {})


def adds_messages(channel: BaseChannel[Any, Any, Any]) -> bool:
    """Report whether the reducer of a channel is add_messages, with options or without."""
    if not isinstance(channel, BinaryOperatorAggregate):
        return False
    reducer: Any = channel.operator
    with_options = cast(Any, add_messages)(format="langchain-openai")
    return reducer is add_messages or (isinstance(reducer, partial) and reducer.func is with_options.func)


def aliases_of(state: Any) -> dict[str, str]:
    """Return the aliases of a pydantic model's fields, each with the field's name."""
    if not is_model(state):
        return {}
    fields = state.model_fields.items()
    return {alias: name for name, field in fields for alias in _aliases(field.validation_alias) if alias != name}


def _aliases(alias: str | AliasPath | AliasChoices | None) -> list[str]:
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [choice for choice in choices if isinstance(choice, str)]


def is_model(state: Any) -> bool:
    return isinstance(state, type) and issubclass(state, BaseModel)


def is_constructed(state: Any) -> bool:
    """Report whether LangGraph constructs the state from its channels for each node."""
    return is_model(state) or dataclasses.is_dataclass(state)


def _is_generated(state: Any) -> bool:
    """Report whether a library made the type, as LangChain's create_agent does: all of its fields are required then."""
    module, name = sys.modules.get(state.__module__), state.__qualname__
    return "<locals>" not in name and getattr(module, name, None) is not state


def required_fields(state: Any) -> list[str]:
    """Return the fields without which a state or context cannot be made."""
    if is_model(state):
        return [name for name, field in state.model_fields.items() if field.is_required()]
    if dataclasses.is_dataclass(state):
        missing = dataclasses.MISSING
        fields = [field for field in dataclasses.fields(state) if field.init]
        return [field.name for field in fields if field.default is missing and field.default_factory is missing]
    return sorted(getattr(state, "__required_keys__", ()))


def _hints(state: Any) -> dict[str, Any]:
    """Return the types of a state's fields, with the constraints of a pydantic model."""
    if is_model(state):
        return {name: _constrained(field) for name, field in state.model_fields.items()}
    if not hasattr(state, "__annotations__"):
        return {}
    return {
        name: bare_hint(hint) for name, hint in typing_extensions.get_type_hints(state, include_extras=True).items()
    }


def _constrained(field: FieldInfo) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _update_hint(channel: BaseChannel[Any, Any, Any], hint: Any) -> Any:
    """Return the type of what a channel takes: of a reducer that is a function, the type of its second parameter."""
    if isinstance(channel, Topic):
        return Any
    if not isinstance(channel, BinaryOperatorAggregate) or getattr(channel.operator, "__module__", "") == "_operator":
        return hint
    try:
        parameters = [*inspect.signature(channel.operator).parameters]
        return typing_extensions.get_type_hints(channel.operator, include_extras=True).get(parameters[1], Any)
    except (TypeError, ValueError, NameError, IndexError):
        return Any


def _has_messages(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, BaseMessage):
        return True
    return any(_has_messages(argument) for argument in get_args(hint))


def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """Return the adapter of a type; None if it has no JSON schema."""
    try:
        adapter = TypeAdapter[Any](portable_type(hint))
        adapter.json_schema()
    except PydanticUserError:
        return None
    return adapter


def _message_violations(value: Mapping[str, Any], names: Iterable[str], field: str) -> Iterator[FieldViolation]:
    for name in names:
        given = value.get(name, [])
        for number, message in enumerate(given if isinstance(given, list) else [given]):
            try:
                convert_to_messages([message])
            except (ValueError, TypeError, KeyError, NotImplementedError) as error:
                place = f"[{number}]" if isinstance(given, list) else ""
                yield FieldViolation(f"{field}.{name}{place}", f"is no message: {str(error).splitlines()[0]:.200}")
