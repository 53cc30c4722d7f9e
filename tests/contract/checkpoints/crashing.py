"""A process that dies between two statements: `python crashing.py <url>`.

For every place, a child runs two graphs on threads of its own and is gone, as by kill -9, before the statement, or the
commit, of that number, or after one that is a commit. The last child gets to the end. The second graph leaves a trail,
as the runs of the orchestrator do. Printed is a line for each checkpoint that a child was told is stored:
`<thread> <checkpoint id>`.
"""

import asyncio
import os
import sys
from itertools import count
from typing import Any

from graphmesh_chassis.alone import Alone
from graphmesh_chassis.database import Database, open_database
from graphmesh_orchestrator.checkpoints import Claim, GroupCommit, LogSaver, Place, Trail, trail_of
from langchain_core.runnables import RunnableConfig
from sqlalchemy import event

from tests.contract.checkpoints import kit
from tests.contract.checkpoints.conftest import begun


class TellingSaver(LogSaver):
    """Tells of each checkpoint as soon as LangGraph is told, or who asks for the one of a trail."""

    async def aput(self, config: RunnableConfig, *args: Any) -> RunnableConfig:
        stored = await super().aput(config, *args)
        if trail := trail_of(config):
            self._telling = asyncio.create_task(self._tell_later(Place.of(stored), trail))
        else:
            tell(Place.of(stored))
        return stored

    async def _tell_later(self, place: Place, trail: Trail) -> None:
        await asyncio.sleep(0)  # the call of aput ends first
        if await self.is_stored(place, trail):
            tell(place)


def tell(stored: Place) -> None:
    os.write(1, f"{stored.thread_id} {stored.checkpoint_id}\n".encode())


def die_before(database: Database, place: int) -> None:
    places = count(1)

    def at(*_: Any) -> None:
        if next(places) == place:
            os._exit(9)

    engine: Any = database._engine.sync_engine
    event.listen(engine, "before_cursor_execute", at)
    event.listen(engine, "commit", at)
    execute: Any = Alone.execute

    async def alone(*arguments: Any) -> Any:
        at()
        rows = await execute(*arguments)
        at()
        return rows

    setattr(Alone, "execute", alone)  # noqa: B010 - a plain assignment is what the types forbid


async def run(url: str, place: int) -> None:
    async with open_database(url) as database, GroupCommit(database).running() as commits:
        await begun(database, thread := f"t{place}")
        die_before(database, place)
        await kit.asking(TellingSaver(database, commits)).ainvoke({"log": []}, kit.at(f"ask{place}"), durability="sync")
        graph = kit.chain(TellingSaver(database, commits), nodes=kit.TWO)
        async with Trail(commits, Claim(thread, 1)) as trail:
            config = kit.leaving(kit.claimed(kit.at(thread), thread), trail)
            await graph.ainvoke({"log": [], "document": kit.DOCUMENT}, config, durability="sync")


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
