"""A process that dies between two statements: `python crashing.py <url>`.

For every place, a child runs a graph on a thread of its own and is gone, as by kill -9, before the
statement, or the commit, of that number. The last child gets to the graph's end. Printed is a line for each checkpoint
that a child was told is stored: `<thread> <checkpoint id>`.
"""

import asyncio
import os
import sys
from itertools import count
from typing import Any

from graphmesh_chassis.database import Database, open_database
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver
from langchain_core.runnables import RunnableConfig
from sqlalchemy import event

from tests.contract.checkpoints import kit


class TellingSaver(LogSaver):
    """Tells of each checkpoint as soon as LangGraph is told."""

    async def aput(self, config: RunnableConfig, *args: Any) -> RunnableConfig:
        stored = await super().aput(config, *args)
        given = stored["configurable"]
        os.write(1, f"{given['thread_id']} {given['checkpoint_id']}\n".encode())
        return stored


def die_before(database: Database, place: int) -> None:
    places = count(1)

    def at(*_: Any) -> None:
        if next(places) == place:
            os._exit(9)

    engine: Any = database._engine.sync_engine
    event.listen(engine, "before_cursor_execute", at)
    event.listen(engine, "commit", at)


async def run(url: str, place: int) -> None:
    async with open_database(url) as database, GroupCommit(database).running() as commits:
        die_before(database, place)
        await kit.asking(TellingSaver(database, commits)).ainvoke({"log": []}, kit.at(f"ask{place}"), durability="sync")
        graph = kit.chain(TellingSaver(database, commits), nodes=kit.TWO)
        await graph.ainvoke({"log": [], "document": kit.DOCUMENT}, kit.at(f"t{place}"), durability="sync")


def survives(url: str, place: int) -> bool:
    child = os.fork()
    if child == 0:
        asyncio.run(run(url, place))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    ended = os.waitstatus_to_exitcode(status)
    if ended not in (0, 9):
        sys.exit(f"place {place}: the child ended with {ended}")
    return ended == 0


def main(url: str) -> None:
    for place in count(1):
        if survives(url, place):
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
