"""Graphs as LangGraph's documentation has them: states, control flow, caches and functional workflows."""

import asyncio
import operator
from enum import Enum
from typing import Annotated, Any

from langchain_core.messages import AIMessage, RemoveMessage
from langgraph.cache.memory import InMemoryCache
from langgraph.channels import UntrackedValue
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import CachePolicy, Command, Overwrite, RetryPolicy, Send, StreamWriter, interrupt
from pydantic import BaseModel, Field, field_validator
from typing_extensions import TypedDict


# A pydantic model as state, with validators and classes within classes.
class Sketch(BaseModel):
    class Kind(Enum):
        LINE = "line"

    kind: "Sketch.Kind | None" = None
    points: set[tuple[int, int]] = set()


class Drawing(BaseModel):
    title: str
    sketch: Sketch = Field(default_factory=Sketch)
    steps: Annotated[list[str], operator.add] = []

    @field_validator("title")
    @classmethod
    def _has_text(cls, title: str) -> str:
        if not title:
            raise ValueError("has no text")
        return title


def draw(state: Drawing) -> dict[str, Any]:
    return {"sketch": Sketch(kind=Sketch.Kind.LINE, points={(1, len(state.sketch.points))}), "steps": ["draw"]}


def sign(state: Drawing) -> dict[str, Any]:
    return {"title": f"{state.title} ({state.sketch.kind})", "steps": ["sign"]}


drawing = StateGraph(Drawing)
drawing.add_node(draw)
drawing.add_node(sign)
drawing.add_edge(START, "draw")
drawing.add_edge("draw", "sign")


# States of nodes that are no part of the input or the output, and a question between them.
class Question(TypedDict):
    asked: str


class Answer(TypedDict):
    answered: str


class Overall(Question, Answer):
    pass


class Between(TypedDict):
    hidden: str


def think(state: Question) -> Between:
    return {"hidden": f"thought of {state['asked']}"}


def reply(state: Between) -> Answer:
    return {"answered": f"{state['hidden']}, {interrupt('sure?')}"}


private = StateGraph(Overall, input_schema=Question, output_schema=Answer)
private.add_node("think", think)
private.add_node("reply", reply)
private.add_edge(START, "think")
private.add_edge("think", "reply")


# Map and reduce, with a deferred node, a retried one, and a channel that is not stored.
class Connection:
    """What no serializer knows."""


class Jokes(TypedDict, total=False):
    subjects: list[str]
    jokes: Annotated[list[str], operator.add]
    connection: Annotated[Connection, UntrackedValue]
    best: str


ATTEMPTS = {"joke": 0}


def joke(state: dict[str, str]) -> dict[str, Any]:
    ATTEMPTS["joke"] += 1
    if ATTEMPTS["joke"] % 2:
        raise ConnectionError("again")
    return {"jokes": [f"joke about {state['subject']}"]}


jokes = StateGraph(Jokes)
jokes.add_node("connect", lambda state: {"connection": Connection()})
jokes.add_node("joke", joke, retry_policy=RetryPolicy(initial_interval=0.001, jitter=False))  # type: ignore[type-var]
jokes.add_node("best", lambda state: {"best": min(state["jokes"]), "connection": None}, defer=True)
jokes.add_edge(START, "connect")
jokes.add_conditional_edges("connect", lambda state: [Send("joke", {"subject": one}) for one in state["subjects"]])
jokes.add_edge("joke", "best")


# Messages that are removed, a list that is overwritten, a cached node, and several ways out of a node.
class Talk(MessagesState):
    summary: str
    log: Annotated[list[str], operator.add]


def shorten(state: Talk) -> Any:
    removed = [RemoveMessage(id=str(message.id)) for message in state["messages"][:-1]]
    update = {"summary": f"{len(removed)} removed", "messages": removed, "log": Overwrite(["shortened"])}
    return Command(update=update, goto=[END])


talk = StateGraph(Talk)
talk.add_node("talk", lambda state: {"messages": [AIMessage("hello")], "log": ["talked"]}, cache_policy=CachePolicy())
talk.add_node("shorten", shorten)
talk.add_edge(START, "talk")
talk.add_conditional_edges("talk", lambda state: "shorten" if len(state["messages"]) > 2 else END)
cached = talk.compile(cache=InMemoryCache())


# A functional workflow with tasks that are retried and cached, a question, and what it saves for its next run.
class Report(BaseModel):
    total: int
    kept: str
    before: int


@task(retry_policy=RetryPolicy(initial_interval=0.001, jitter=False), cache_policy=CachePolicy(ttl=60))  # type: ignore[arg-type]
def double(number: int) -> int:
    ATTEMPTS["double"] = ATTEMPTS.get("double", 0) + 1
    if ATTEMPTS["double"] % 2:
        raise ConnectionError("again")
    return 2 * number


@entrypoint()
async def report(number: int, *, previous: Any, writer: StreamWriter) -> Any:
    writer({"begun": number})
    total = sum(await asyncio.gather(*[double(one) for one in range(number)]))  # type: ignore[arg-type]
    kept = interrupt({"keep": total})
    return entrypoint.final(value=Report(total=total, kept=kept, before=previous or 0), save=total)
