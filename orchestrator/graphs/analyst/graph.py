"""Data analysis: answers questions about a database, with each number checked against the rows, and a chart.

    receive ─► query ─► narrate
                 └► a question to the person, or what is missing

`query` describes the schema, lets a model write one SELECT (or plans it by rule where the model is offline), and runs
it through the service sql, which decides what may be read. `narrate` states the rows.
"""

from typing import Literal

from graphmesh.model.v1 import ModelService
from graphmesh.sql.v1 import SqlService
from graphmesh_nodes import Limits, declare, routed
from langgraph.graph import END, START, StateGraph

from analyst import nodes, prompts
from analyst.policy import AnalystPolicy
from analyst.state import Request, Response, State


def after_query(state: State) -> Literal["narrate", "__end__"]:
    return "__end__" if state["outcome"] else "narrate"


graph = StateGraph(State, input_schema=Request, output_schema=Response)

graph.add_node("receive", nodes.receive)
graph.add_node("query", nodes.query)
graph.add_node("narrate", nodes.narrate)

graph.add_edge(START, "receive")
graph.add_edge("receive", "query")
graph.add_conditional_edges("query", routed(after_query, "outcome", "reason"))
graph.add_edge("narrate", END)

declare(
    graph,
    tools=(ModelService.Generate, ModelService.StreamGenerate, SqlService.DescribeSchema, SqlService.RunQuery),
    limits=Limits(max_steps=50, max_tokens=100_000, max_effects=0),
    policy=AnalystPolicy,
    prompts=prompts.VERSIONS,
)
