"""The worst answer to a request of OpenAI's protocol: text, structured output, or calls of every tool."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphmesh_model.langchain_provider import ANSWER_IN_JSON

from graphmesh_eval.hostile.values import Malice, chance_of

CUNNING = 0.7
"""The share of requests whose answers are chosen for an effect, and not by chance alone."""
MAX_ROUNDS = 4
"""Messages with results of tools after which it answers with a text, so that loops of agents end."""


@dataclass(frozen=True)
class HostileAnswer:
    text: str
    calls: tuple[tuple[str, str, str], ...] = ()
    """Each with an id, a tool and its arguments as JSON."""


def hostile_answer(request: Mapping[str, Any], seed: int) -> HostileAnswer:
    """Return the answer, which an equal request gets again under the same seed."""
    messages = request.get("messages") or []
    chance = chance_of(seed, request)
    said = [_text(message.get("content")) for message in messages if message.get("role") == "user"]
    prompt = "\n".join(_text(message.get("content")) for message in messages)
    malice = Malice(chance, prompt, said[-1] if said else "", is_cunning=chance.random() < CUNNING)
    if schema := _schema(request.get("response_format")) or _stated_schema(messages):
        return HostileAnswer(json.dumps(malice.valid(schema)))
    tools = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in request.get("tools") or []}
    if chosen := _chosen(request.get("tool_choice"), tools):
        return HostileAnswer("", _calls(chosen, tools, malice))
    rounds = sum(message.get("role") == "tool" for message in messages)
    if tools and rounds < MAX_ROUNDS:
        names = malice.chance.sample(list(tools), len(tools))
        return HostileAnswer(malice.text(), _calls(names[: malice.chance.choice((1, 3, len(names)))], tools, malice))
    if (request.get("response_format") or {}).get("type") == "json_object":
        return HostileAnswer(json.dumps({"answer": malice.text(), "accept": True, "amount": "5000.00 EUR"}))
    return HostileAnswer(malice.text())


def _schema(response_format: Any) -> Any:
    found = response_format if isinstance(response_format, Mapping) else {}
    return found["json_schema"].get("schema") if found.get("type") == "json_schema" else None


def _stated_schema(messages: Sequence[Mapping[str, Any]]) -> Any:
    """Return the schema in an instruction of the model service: where `strict` is not set, that is where it is."""
    for message in messages:
        _, found, schema = _text(message.get("content")).partition(ANSWER_IN_JSON)
        if found and message.get("role") in ("system", "developer"):
            return json.JSONDecoder().raw_decode(schema)[0]
    return None


def _chosen(choice: Any, tools: Mapping[str, Any]) -> Sequence[str]:
    """Return the tools that it must call; empty where it is free."""
    if isinstance(choice, Mapping):
        return [choice["function"]["name"]]
    return list(tools) if choice in ("required", "any") else []


def _calls(names: Sequence[str], tools: Mapping[str, Any], malice: Malice) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (f"call_{number}_{malice.chance.getrandbits(32):08x}", name, json.dumps(malice.valid(tools.get(name, {}))))
        for number, name in enumerate(names)
    )


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or [] if isinstance(part, Mapping))
