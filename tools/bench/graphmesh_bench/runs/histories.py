"""A long conversation on one thread: what a turn adds to the database, and how long a page of the history takes."""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from graphmesh_chassis.database import open_database
from graphmesh_orchestrator.backend import MIGRATIONS
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver, SqlBatchWriter
from graphmesh_orchestrator.checkpoints.history import History
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, MessagesState, StateGraph
from psycopg import AsyncConnection

from graphmesh_bench.runs.on_postgres_saver import create_tables, postgres_saver

THREAD = "bench/conversation"
PAGE = 50
"""Checkpoints in a page."""
SIZE = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE relname = ANY(%s) AND relkind = 'r'"
TABLES = ["checkpoints", "task_writes", "artifacts", "checkpoint_blobs", "checkpoint_writes"]
"""The tables of both checkpointers."""


@dataclass(frozen=True)
class Conversation:
    """The costs of a conversation with one checkpointer."""

    turns: int
    first_bytes: float
    """Bytes that a turn adds to the tables, as the mean over the first fifth."""
    last_bytes: float
    """The same over the last fifth."""
    cpu_ms: float
    """CPU of this process for a turn, over the last fifth."""
    page_ms: float
    """The time of the first page of the history: summaries where the checkpointer has them, else whole checkpoints."""


ReadPage = Callable[[], Awaitable[int]]


async def measure_log(url: str, turns: int) -> Conversation:
    """Measure the orchestrator's checkpointer on a new database."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(url, MIGRATIONS))
        commits = await stack.enter_async_context(GroupCommit(SqlBatchWriter(database)).running())
        saver = LogSaver(database, commits)
        history = History(database, saver.serde, saver.load)
        return await _measure(saver, url, turns, lambda: _count(history.read(THREAD, "", "", (), is_basic=True)))


async def measure_official(url: str, turns: int) -> Conversation:
    """Measure LangGraph's checkpointer for PostgreSQL on a new database."""
    await create_tables(url)
    async with postgres_saver(url) as saver:
        config: Any = {"configurable": {"thread_id": THREAD, "checkpoint_ns": ""}}
        return await _measure(saver, url, turns, lambda: _count(saver.alist(config, limit=PAGE)))


async def _measure(saver: BaseCheckpointSaver[Any], url: str, turns: int, read_page: ReadPage) -> Conversation:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda _: {"messages": [AIMessage(_text())]})
    builder.add_edge(START, "answer")
    graph, fifth = builder.compile(checkpointer=saver), max(1, turns // 5)
    config: Any = {"configurable": {"thread_id": THREAD}}
    marks: list[tuple[float, float]] = []
    async with _sizes(url) as size:
        for number in range(5 * fifth):
            if number in (0, fifth, 4 * fifth):
                marks.append((await size(), time.process_time()))
            await graph.ainvoke({"messages": [HumanMessage(_text())]}, config, durability="sync")
        marks.append((await size(), time.process_time()))
    (begin, _), (first, _), (before_last, cpu), (end, cpu_end) = marks
    began = time.perf_counter()
    await read_page()
    page_ms = (time.perf_counter() - began) * 1000
    cpu_ms = (cpu_end - cpu) / fifth * 1000
    return Conversation(5 * fifth, (first - begin) / fifth, (end - before_last) / fifth, cpu_ms, page_ms)


def _text() -> str:
    """Return 400 characters, which a database does not compress to a few."""
    return os.urandom(200).hex()


@asynccontextmanager
async def _sizes(url: str) -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """Yield a function that returns the bytes of the tables."""
    async with await AsyncConnection.connect(url.replace("+psycopg", ""), autocommit=True) as connection:

        async def size() -> float:
            rows: Sequence[Any] = await (await connection.execute(SIZE, [TABLES])).fetchall()
            return float(rows[0][0])

        yield size


async def _count(found: AsyncIterator[object]) -> int:
    """Read one page."""
    count = 0
    async for _ in found:
        count += 1
        if count == PAGE:
            break
    return count
