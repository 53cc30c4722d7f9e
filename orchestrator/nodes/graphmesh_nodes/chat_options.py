"""The options of a call of a chat model: each is honoured, or refused by name."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from graphmesh_chassis.errors import FieldViolation, InvalidRequest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel

from graphmesh_nodes import chat_convert as convert

Method = Literal["json_schema", "function_calling", "json_mode"]
ANY_OBJECT = {"type": "object"}
FIELDS: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "stop": "stop",
    "parallel_tool_calls": "parallel_tool_calls",
    "strict": "strict",
    "unchecked_tool_calls": "unchecked_tool_calls",
}
"""The options with a field of the prompt."""


def prompt_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the options of a call, without None, to fields of the prompt.

    Raises:
        InvalidRequest: the model service has no such option; it names it.
    """
    given = {name: value for name, value in options.items() if value is not None}
    schema, strict = _response_schema(given.pop("response_schema", None), given.pop("response_format", None))
    tools = [convert.tool(tool) for tool in given.pop("tools", ())]
    choice = convert.tool_choice(given.pop("tool_choice", None))
    if unknown := sorted(given.keys() - FIELDS.keys()):
        raise _refused(unknown[0], "is no option of the model service; the parameters of the alias may have it")
    fields = {FIELDS[name]: value for name, value in given.items()}
    if strict is not None:
        fields["strict"] = strict
    if schema is not None:
        fields["response_schema_json"] = json.dumps(schema)
    return {**fields, "tools": tools, "tool_choice": choice}


def _response_schema(schema: Any, response_format: Any) -> tuple[Any, bool | None]:
    """Return the schema of the answer, and whether the vendor enforces it; None where that is not stated."""
    if response_format is None:
        return schema, None
    match response_format:
        case {"type": "json_schema", "json_schema": {"schema": dict(declared), **others}}:
            return declared, bool(others.get("strict"))
        case {"type": "json_object"}:
            return ANY_OBJECT, None
        case {"type": "text"}:
            return None, None
        case type() if issubclass(response_format, BaseModel):
            return response_format.model_json_schema(), None
    raise _refused("response_format", "is neither json_schema, json_object, text nor a pydantic class")


def _refused(name: str, rule: str) -> InvalidRequest:
    return InvalidRequest(violations=[FieldViolation(name, rule)])


def structured_output(
    model: BaseChatModel, schema: dict[str, Any] | type, method: Method, options: Mapping[str, Any]
) -> tuple[Runnable[Any, AIMessage], BaseOutputParser[Any]]:
    """Return `model` with the options for answers of `schema`, and their parser.

    Raises:
        ValueError: there is no such method.
    """
    match method:
        case "json_schema":
            return model.bind(response_schema=_json_schema(schema), **options), _parser(schema)
        case "json_mode":
            return model.bind(response_schema=ANY_OBJECT, **options), _parser(schema)
        case "function_calling":
            name = str(convert_to_openai_tool(schema)["function"]["name"])
            return model.bind_tools([schema], tool_choice=name, **options), _tool_parser(schema, name)
    raise ValueError(f"method is {method}; it can be json_schema, function_calling or json_mode")


def _json_schema(schema: dict[str, Any] | type) -> dict[str, Any]:
    """Return the schema of Pydantic itself where there is one: LangChain's conversion loses references and the
    descriptions of choices."""
    if isinstance(schema, dict):
        return schema
    return schema.model_json_schema() if issubclass(schema, BaseModel) else convert_to_json_schema(schema)


def _parser(schema: dict[str, Any] | type) -> BaseOutputParser[Any]:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return PydanticOutputParser(pydantic_object=schema)
    return JsonOutputParser()


def _tool_parser(schema: dict[str, Any] | type, name: str) -> BaseOutputParser[Any]:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return PydanticToolsParser(tools=[schema], first_tool_only=True)
    return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
