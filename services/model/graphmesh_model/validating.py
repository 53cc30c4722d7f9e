"""Holds answers to the schemas of their prompts, and asks once for a better one."""

from dataclasses import replace

from graphmesh_model import json_text
from graphmesh_model.domain import Answer, Assistant, FinishReason, Message, Prompt, User
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.schemas import schema_violation

MAX_REPEATED = 20_000
"""Characters of an invalid answer that are shown to its model again."""
REPAIR = "Your answer was not usable: {cause}. Answer again, in full and in the required form, with nothing around it."


def validate(answer: Answer, prompt: Prompt) -> None:
    """Raises OutputInvalid where a tool call or the text does not fit its schema."""
    for call in () if prompt.unchecked_tool_calls else answer.message.tool_calls:
        parameters = prompt.parameters_of(call.name)
        where = "$: no such tool" if parameters is None else schema_violation(call.arguments, parameters)
        if where is not None:
            raise _output_invalid(answer, f"tool {call.name}", where)
    has_no_text = answer.finish_reason in (FinishReason.TOOL_CALLS, FinishReason.CONTENT_FILTER)
    if prompt.response_schema is None or has_no_text:
        return
    try:
        value = json_text.loads(answer.message.text)
    except ValueError as error:
        raise _output_invalid(answer, "response", f"$: not JSON, finished by {answer.finish_reason.value}") from error
    if where := schema_violation(value, prompt.response_schema):
        raise _output_invalid(answer, "response", where)


def repair_prompt(prompt: Prompt, invalid: OutputInvalid) -> Prompt:
    """Return the prompt with the invalid answer and its violation, for a second try of the same model."""
    text = invalid.text[:MAX_REPEATED]
    written: tuple[Message, ...] = (Assistant(text),) if text.strip() else ()
    return replace(prompt, messages=(*prompt.messages, *written, User(REPAIR.format(cause=invalid.message))))


def _output_invalid(answer: Answer, schema: str, where: str) -> OutputInvalid:
    message = f"The answer of {answer.model} does not fit the schema of the {schema}: {where}"
    return OutputInvalid(message, text=answer.message.text, model=answer.model, schema=schema, where=where)
