"""A graph whose nodes show their thread as LangGraph passes it, and write values that cannot be serialized."""

from dataclasses import dataclass
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config
from langgraph.errors import NodeError
from langgraph.func import task
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime, get_runtime
from langgraph.types import CachePolicy, Command, Send, interrupt
from typing_extensions import TypedDict


class Opaque:
    """A value that no serializer knows."""


@dataclass
class Order:
    """A value of a class of the graph."""

    number: int


def keep(before: Any, written: Any) -> Any:
    """Turn the text `opaque` into a value that cannot be serialized."""
    return Opaque() if written == "opaque" else written


class State(TypedDict, total=False):
    place: str
    value: Any
    made: Annotated[Any, keep]
    threads: dict[str, str | None]


def threads(state: State, config: RunnableConfig, runtime: Runtime[Any]) -> State:
    seen = {"configurable": config["configurable"]["thread_id"], "metadata": config["metadata"]["thread_id"]}
    assert runtime.execution_info
    return {"threads": {**seen, "runtime": runtime.execution_info.thread_id}}


async def inner(state: State) -> State:
    info = get_runtime().execution_info
    assert info
    inner_threads = {"inner": get_config()["configurable"]["thread_id"], "inner runtime": info.thread_id}
    return {"threads": {**state["threads"], **inner_threads}}


def choose(state: State) -> Any:
    return Send("packet", {"value": Opaque()}) if state["place"] == "send" else state["place"]


def sync_node(state: State) -> Any:
    return {"value": {"items": [1, Opaque()]}}


async def async_node(state: State) -> Any:
    return {"value": {"items": [1, Opaque()]}}


def command(state: State) -> Any:
    return Command(update={"value": Opaque()})


def packet(state: Any) -> Any:
    return {}


def packet_writer(state: Any) -> Any:
    return Command(goto=Send("packet", {"value": Opaque()}))


def reducer(state: State) -> Any:
    return {"made": "opaque"}


def asks(state: State) -> Any:
    interrupt({"value": Opaque()})


@task
def work() -> Any:
    return {"in": Opaque()}


async def calls_task(state: State) -> Any:
    return {"value": str(await work())}


def integer(state: State) -> Any:
    return {"value": {"of": 2**70}}


def cyclic(state: State) -> Any:
    value: list[Any] = []
    value.append(value)
    return {"value": value}


def orders(state: State) -> Any:
    return {"value": [Order(7)]}


def waits(state: State) -> Any:
    interrupt("ready?")
    return {"value": type(state["value"][0]).__name__}


CALLS: list[str] = []


def counted(state: State) -> Any:
    CALLS.append("counted")
    return {"value": "counted"}


def failing(state: State) -> Any:
    raise ValueError("always")


def handler(state: State, error: NodeError) -> Any:
    return {"value": f"{type(error.error).__name__} of {error.node}"}


def _graph(*nodes: Any) -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for node in nodes:
        builder.add_node(node.__name__, node)
    return builder


subgraph = _graph(inner)
subgraph.add_edge(START, "inner")
graph = _graph(
    threads,
    sync_node,
    async_node,
    command,
    packet,
    packet_writer,
    reducer,
    asks,
    calls_task,
    integer,
    cyclic,
    orders,
    waits,
)
graph.add_node("counted", counted, cache_policy=CachePolicy(key_func=lambda state: b"same"))
graph.add_node("failing", failing, error_handler=handler)
graph.add_node("subgraph", subgraph.compile())
graph.add_conditional_edges(START, choose)
graph.add_edge("threads", "subgraph")
graph.add_edge("orders", "waits")
