"""Graphs as LangGraph's tutorials and templates have them: agents, tools, memory and questions to people."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.tools import ToolRuntime
from langchain_core.messages import AnyMessage, ToolMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph, add_messages
from langgraph.prebuilt import InjectedState, InjectedStore, ToolNode, tools_condition
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from tests.integration.projects.scripted_model import ScriptedModel, calls, once


# Agents that hand over to each other.
@tool
def transfer_to_hotel(
    state: Annotated[MessagesState, InjectedState], tool_call_id: Annotated[str, InjectedToolCallId]
) -> Any:
    """Hand over to the assistant for hotels."""
    note = {"role": "tool", "content": "handed over", "tool_call_id": tool_call_id}
    update = {"messages": [*state["messages"], note], "active": "hotel"}
    return Command(goto="hotel", update=update, graph=Command.PARENT)


class Swarm(MessagesState):
    active: str


def active(state: Swarm) -> Literal["flight", "hotel"]:
    return "hotel" if state.get("active") == "hotel" else "flight"


flight = create_agent(once(calls("transfer_to_hotel"), "booked"), [transfer_to_hotel], name="flight")
hotel = create_agent(ScriptedModel(answer=lambda messages: f"room {len(messages)}"), [], name="hotel")
swarm = StateGraph(Swarm)
swarm.add_node("flight", flight, destinations=("hotel",))
swarm.add_node("hotel", hotel)
swarm.add_conditional_edges(START, active)


# An agent with a memory over its threads.
@tool
def remember(fact: str, config: RunnableConfig, store: Annotated[BaseStore, InjectedStore()]) -> str:
    """Remember a fact."""
    store.put(("facts", config["configurable"]["langgraph_user_id"]), fact, {"fact": fact})
    return f"remembered {fact}"


@tool
def recall(runtime: ToolRuntime) -> str:
    """Recall all facts."""
    assert runtime.store
    found = sorted(item.value["fact"] for item in runtime.store.search(("facts",)))
    runtime.stream_writer({"found": len(found)})
    return f"{found} of {len(runtime.state['messages'])} messages, for {runtime.tool_call_id}"


def remember_or_recall(messages: Any) -> Any:
    if messages[-1].type == "tool":
        return "done"
    return calls("recall") if messages[-1].content == "what?" else calls("remember", fact=messages[-1].content)


memory = create_agent(ScriptedModel(answer=remember_or_recall), [remember, recall], store=InMemoryStore())


# A support bot that stops before its tools, with a fallback where one fails.
class Support(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    passenger: str


@tool
def cancel(ticket: str) -> str:
    """Cancel a ticket."""
    raise RuntimeError(f"{ticket} cannot be cancelled")


def report_error(state: Any) -> Any:
    [call] = state["messages"][-1].tool_calls
    return {"messages": [ToolMessage(f"failed: {state['error']!r}", tool_call_id=call["id"])]}


class Assistant:
    """A node that is an object."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, state: Support, config: RunnableConfig) -> Any:
        return {"messages": self.model.invoke(state["messages"], config)}


support_bot = StateGraph(Support)
support_bot.add_node("look_up", lambda state, config: {"passenger": config["configurable"]["passenger_id"]})
support_bot.add_node("assistant", Assistant(once(calls("cancel", ticket="7"), "sorry")))
tools = ToolNode([cancel], handle_tool_errors=False).with_fallbacks(
    [RunnableLambda(report_error)], exception_key="error"
)
support_bot.add_node("tools", tools)
support_bot.add_edge(START, "look_up")
support_bot.add_edge("look_up", "assistant")
support_bot.add_conditional_edges("assistant", tools_condition)
support_bot.add_edge("tools", "assistant")
support = support_bot.compile(checkpointer=InMemorySaver(), interrupt_before=["tools"])


# A tool that asks a person, and changes the state.
class Named(MessagesState):
    name: str


@tool
def ask_person(query: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> Any:
    """Ask a person."""
    answer = interrupt({"query": query})
    return Command(update={"name": answer["name"], "messages": [ToolMessage("asked", tool_call_id=tool_call_id)]})


chatbot = once(calls("ask_person", query="who?"), "thanks")
person = StateGraph(Named)
person.add_node("chatbot", lambda state: {"messages": [chatbot.invoke(state["messages"])]})
person.add_node("tools", ToolNode([ask_person]))
person.add_edge(START, "chatbot")
person.add_conditional_edges("chatbot", tools_condition)
person.add_edge("tools", "chatbot")


# An agent whose tool calls a person approves.
@tool
def delete_file(path: str) -> str:
    """Delete a file."""
    return f"deleted {path}"


approved = create_agent(
    once(calls("delete_file", path="/x"), "finished"),
    [delete_file],
    middleware=[HumanInTheLoopMiddleware(interrupt_on={"delete_file": True})],
)


# A factory that opens a client for each run.
@asynccontextmanager
async def remote_tools(config: RunnableConfig) -> AsyncIterator[Any]:
    unit = config.get("configurable", {}).get("unit", "m")

    @tool
    async def add(left: int, right: int) -> str:
        """Add two lengths."""
        return f"{left + right} {unit}"

    yield create_agent(once(calls("add", left=1, right=2), "added"), [add])
