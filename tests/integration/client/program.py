"""A LangGraph program outside of the mesh with a graph of the mesh as a node; tests run it as a process and kill it.

python -m tests.integration.client.program EDGE TENANT POSTGRES_URL begin|resume
"""

import asyncio
import json
import operator
import sys
from typing import Annotated, Any

from graphmesh_client import Client, RemoteGraph
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.pregel.protocol import PregelProtocol
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    name: str
    mine: str
    notes: Annotated[list[str], operator.add]


def program(node: PregelProtocol[Any, Any, Any, Any]) -> StateGraph[State, None, State, State]:
    """A graph with a node before and a node after the node of the mesh."""
    graph = StateGraph(State)
    graph.add_node("before", lambda state: {"mine": "not the mesh's"})
    graph.add_node("mesh", node)
    graph.add_node("after", lambda state: {"notes": ["after"]})
    for one, next_ in ((START, "before"), ("before", "mesh"), ("mesh", "after"), ("after", END)):
        graph.add_edge(one, next_)
    return graph


async def main(edge: str, tenant: str, database: str, action: str) -> None:
    async with Client(edge, tenant=tenant) as client, AsyncPostgresSaver.from_conn_string(database) as saver:
        await saver.setup()
        compiled = program(RemoteGraph(client, "gated")).compile(checkpointer=saver)
        given: Any = {"name": "program"} if action == "begin" else None
        output = await compiled.ainvoke(given, {"configurable": {"thread_id": "its own"}}, durability="sync")
        sys.stdout.write(json.dumps(output))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
