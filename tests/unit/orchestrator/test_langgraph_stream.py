"""LangGraph's stream neither iterates over the characters of a state's texts nor copies the values of interrupts."""

import operator
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from graphmesh_orchestrator.worker.langgraph_stream import replace_stream
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    text: str
    messages: Annotated[list[AnyMessage], operator.add]
    answer: Any


class Text(str):
    """A text that fails when its characters are visited."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("visited")


class Uncopied(dict[str, Any]):
    """An object that fails when it is copied deeply."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise AssertionError("copied")


@pytest.fixture(autouse=True)
def bounded() -> None:
    replace_stream()


async def parts(node: Any) -> list[tuple[str, Any]]:
    """Return the stream of a graph with one node."""
    graph = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    compiled = graph.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    stream = compiled.astream({"text": Text("a" * 10)}, config, stream_mode=["tasks", "messages", "values"])
    return [(str(mode), part) async for mode, part in stream]


def messages_of(found: list[tuple[str, Any]]) -> list[str]:
    return [part[0].text for mode, part in found if mode == "messages"]


@pytest.mark.parametrize(
    "wrap", [lambda update: update, lambda update: Command(update=update)], ids=["dict", "command"]
)
async def test_texts_that_nodes_return_are_not_visited(wrap: Any, caplog: pytest.LogCaptureFixture) -> None:
    update = {"text": Text("b" * 10), "messages": [HumanMessage("hello")]}
    assert messages_of(await parts(lambda state: wrap(update))) == ["hello"]
    assert "visited" not in caplog.text


async def test_text_of_a_model_is_streamed() -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("good day")]))

    async def node(state: State) -> State:
        return {"messages": [await model.ainvoke("hi")]}

    assert "".join(messages_of(await parts(node))) == "good day"


async def test_value_of_an_interrupt_is_not_copied() -> None:
    value = Uncopied(a=1)

    found = await parts(lambda state: {"answer": interrupt(value)})

    [interrupts] = [part["interrupts"] for mode, part in found if mode == "tasks" and part.get("interrupts")]
    assert interrupts[0]["value"] is value
    assert interrupts[0].keys() == {"value", "id"}
