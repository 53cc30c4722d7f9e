"""The inputs and outputs of the agents: what a run of each is given, and what people see of its end."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from graphmesh_eval.scene import Scene

Input = dict[str, Any]


def _of_customer(scene: Scene, message: str) -> Input:
    return {"customer_id": scene.customer.customer_id, "message": message}


def _of_staff(scene: Scene, message: str) -> Input:
    return {"message": message}


INPUTS: Mapping[str, Callable[[Scene, str], Input]] = {
    "support": _of_customer,
    "operations": _of_staff,
    "analyst": _of_staff,
    "tool_agent": _of_customer,
}
"""By the names of the agents; any other agent gets the customer and the message."""


def input_of(agent: str, scene: Scene, message: str) -> Input:
    return INPUTS.get(agent, _of_customer)(scene, message)


def answer_of(output: Mapping[str, Any]) -> str:
    """Return the text for people in an output: its answer, or the last message of an agent of LangChain."""
    for name in ("answer", "narrative"):
        if isinstance(found := output.get(name), str):
            return found
    messages = output.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else {}
    return "\n".join(texts_of(last.get("content", ""))) if isinstance(last, Mapping) else str(last)


def texts_of(value: Any) -> Iterator[str]:
    """Yield every text in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts_of(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts_of(inner)
