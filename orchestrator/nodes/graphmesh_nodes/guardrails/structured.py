"""Asks a model for a value of a schema, and separates what may be used from what may not.

value, is_offline = await structured(GraphmeshChatModel(), Intent, [SystemMessage(...), HumanMessage(...)])
if is_offline or value is None:
    ...     # decide by a lexical stand-in, or hand over
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, overload

from graphmesh_chassis.errors import GraphmeshError
from langchain_core.messages import BaseMessage
from langgraph.constants import TAG_NOSTREAM
from pydantic import BaseModel

from graphmesh_nodes.chat_model import GraphmeshChatModel
from graphmesh_nodes.json_schemas import violations_of

ModelT = TypeVar("ModelT", bound=BaseModel)

OUTPUT_INVALID = "OUTPUT_INVALID"
"""The reason of the model service for an answer that does not fit its schema."""
_OFFLINE_MODELS = "offline"


@overload
async def structured(
    model: GraphmeshChatModel, schema: type[ModelT], messages: Sequence[BaseMessage]
) -> tuple[ModelT | None, bool]: ...
@overload
async def structured(
    model: GraphmeshChatModel, schema: Mapping[str, Any], messages: Sequence[BaseMessage]
) -> tuple[Any, bool]: ...
async def structured(
    model: GraphmeshChatModel, schema: type[ModelT] | Mapping[str, Any], messages: Sequence[BaseMessage]
) -> tuple[Any, bool]:
    """Return the model's value of `schema`, validated here, or None; and whether the model is the offline composer.

    The value of a pydantic class is an instance of it, and that of a JSON schema is JSON. Output that does not fit is
    None, whatever model gave it. It is not streamed to the run's watchers.

    Raises:
        GraphmeshError: the model could not be reached, or a budget is used up.
    """
    json_schema = schema.model_json_schema() if isinstance(schema, type) else dict(schema)
    asked = model.model_copy(update={"disable_streaming": True}).bind(response_schema=json_schema)
    try:
        answer = await asked.with_config(tags=[TAG_NOSTREAM]).ainvoke(list(messages))
    except GraphmeshError as error:
        if error.reason != OUTPUT_INVALID:
            raise
        return None, error.data.get("model", "").startswith(_OFFLINE_MODELS)
    return validated(schema, str(answer.text)), bool(answer.response_metadata.get("offline"))


def validated(schema: type[BaseModel] | Mapping[str, Any], text: str) -> Any:
    """Return the value of `schema` that the JSON text is; None if it is none. Nothing is repaired: a cut number is
    another number."""
    try:
        if isinstance(schema, type):
            return schema.model_validate_json(text, strict=True)
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return None if violations_of(schema, value, "") else value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
