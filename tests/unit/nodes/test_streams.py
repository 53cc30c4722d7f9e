"""A node of its own reads the responses of a streaming RPC; `remote` is for the others."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import pytest
from graphmesh.sql.v1 import ResultRows, RunQueryRequest, RunQueryResponse, SqlService
from graphmesh_nodes import remote, stream
from graphmesh_nodes.errors import RateLimited, Unreachable
from graphmesh_nodes.testing import GraphHarness
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

REQUEST = RunQueryRequest(query="SELECT 1")


class State(TypedDict, total=False):
    parts: int


async def rows(request: RunQueryRequest) -> AsyncIterator[RunQueryResponse]:
    for _ in range(3):
        yield RunQueryResponse(rows=ResultRows())


def graph_of(node: Any) -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("query", node)
    return builder.add_edge(START, "query")


async def all_parts(state: State) -> State:
    return {"parts": len([part async for part in stream(SqlService.RunQuery, REQUEST)])}


async def first_part(state: State) -> State:
    async with aclosing(stream(SqlService.RunQuery, REQUEST)) as parts:
        await anext(parts)
    return {"parts": 1}


@pytest.mark.parametrize(("node", "parts"), [(all_parts, 3), (first_part, 1)])
async def test_node_reads_a_stream(node: Any, parts: int) -> None:
    harness = GraphHarness(graph_of(node))
    harness.serve(SqlService.RunQuery, rows)
    result = await harness.run({})
    assert result.values == {"parts": parts}
    assert [(call.tool, call.attempts) for call in result.tool_calls] == [("sql.RunQuery", 1)]


async def test_stream_is_repeated_as_long_as_no_response_has_arrived() -> None:
    harness = GraphHarness(graph_of(all_parts))
    harness.serve(SqlService.RunQuery, rows)
    harness.fail(SqlService.RunQuery, RateLimited(retry_after=3), times=1)
    began = harness.clock.monotonic()
    result = await harness.run({})
    assert result.values == {"parts": 3}
    assert [call.attempts for call in result.tool_calls] == [2]
    assert harness.clock.monotonic() - began >= 3


async def test_stream_that_has_begun_is_not_repeated() -> None:
    async def broken(request: RunQueryRequest) -> AsyncIterator[RunQueryResponse]:
        yield RunQueryResponse(rows=ResultRows())
        raise Unreachable

    harness = GraphHarness(graph_of(all_parts))
    harness.serve(SqlService.RunQuery, broken)
    result = await harness.run({})
    assert result.error is not None
    assert result.error.reason == "UNREACHABLE"
    assert len(harness.calls(SqlService.RunQuery)) == 1


def test_remote_node_refuses_a_streaming_rpc() -> None:
    with pytest.raises(TypeError, match=r"sql\.RunQuery streams: call it with stream\(\) in a node of your own"):
        remote(cast(Any, SqlService.RunQuery), request=lambda state: REQUEST, update=lambda state, response: {})
