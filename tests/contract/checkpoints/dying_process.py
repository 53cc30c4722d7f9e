"""A process that dies between two statements: `python -m tests.contract.checkpoints.dying_process <url>`.

For every graph and every number, a child executes the graph on a thread of its own, and exits, as by SIGKILL, before
the statement or the commit of that number, or after a single statement. The last child of a graph completes. The second
graph uses a write-behind buffer, as the runs of the orchestrator do. The thread of the third is pruned between two
runs. A line is printed for each checkpoint that was reported as stored: `<thread> <checkpoint id>`.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.epoch import Epoch
from graphmesh_orchestrator.checkpoints import (
    CheckpointRef,
    GroupCommit,
    LogSaver,
    RunEpoch,
    SqlBatchWriter,
    WriteBehind,
    write_behind_of,
)
from langchain_core.runnables import RunnableConfig

from tests.contract.checkpoints import kit
from tests.contract.databases import ControlledDatabase, engine_events


class ReportingSaver(LogSaver):
    """Prints each checkpoint when `aput` returns; a buffered one when it is flushed."""

    async def aput(self, config: RunnableConfig, *args: Any) -> RunnableConfig:
        stored = await super().aput(config, *args)
        if buffer := write_behind_of(config):
            self.reporting = asyncio.create_task(self._report_later(CheckpointRef.of(stored), buffer))
        else:
            report(CheckpointRef.of(stored))
        return stored

    async def _report_later(self, ref: CheckpointRef, buffer: WriteBehind) -> None:
        await asyncio.sleep(0)  # until aput has returned
        if await self.is_stored(ref, buffer):
            report(ref)


def report(stored: CheckpointRef) -> None:
    os.write(1, f"{stored.thread_id} {stored.checkpoint_id}\n".encode())


def exit_at(number: int) -> Callable[..., None]:
    """Return a function that ends the process when it is called for the given time."""
    calls = count(1)

    def count_call(*_: object) -> None:
        if next(calls) == number:
            os._exit(9)

    return count_call


async def interrupt(database: Database, commits: GroupCommit, thread: str) -> None:
    graph = kit.interrupting(ReportingSaver(database, commits))
    await graph.ainvoke({"log": []}, kit.at(thread), durability="sync")


async def write_behind(database: Database, commits: GroupCommit, thread: str) -> None:
    saver = ReportingSaver(database, commits)
    async with WriteBehind(commits, RunEpoch(thread, Epoch(1))) as buffer:
        config = kit.with_write_behind(kit.with_epoch(kit.at(thread), thread), buffer)
        given = {"log": [kit.LONG], "document": kit.DOCUMENT}
        await kit.chain(saver, nodes=kit.TWO).ainvoke(given, config, durability="sync")
        await saver.reporting


async def prune(database: Database, commits: GroupCommit, thread: str) -> None:
    saver = LogSaver(database, commits)
    graph = kit.chain(saver, nodes=kit.TWO)
    await graph.ainvoke({"log": [kit.LONG]}, kit.at(thread), durability="sync")
    await saver.aprune([thread])
    await graph.ainvoke({"log": ["again"]}, kit.at(thread), durability="sync")


EXECUTIONS = {kit.INTERRUPTED: interrupt, kit.BUFFERED: write_behind, kit.PRUNED: prune}
"""Executions of a graph, by the prefix of the names of their threads."""


async def run(url: str, prefix: str, number: int) -> None:
    async with open_database(url) as database:
        thread = f"{prefix}{number}"
        await kit.add_run(database, thread)
        count_call = exit_at(number)
        observed = ControlledDatabase(database, before=count_call, after=count_call).as_database
        with engine_events(count_call, count_call):
            async with GroupCommit(SqlBatchWriter(observed)).running() as commits:
                await EXECUTIONS[prefix](observed, commits, thread)


def completes(url: str, prefix: str, number: int) -> bool:
    """Execute a child that dies at that number; return whether it completed before."""
    child = os.fork()
    if child == 0:
        asyncio.run(run(url, prefix, number))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 9):
        sys.exit(f"{prefix}{number}: the child exited with {code}")
    return code == 0


def main(url: str) -> None:
    for prefix in EXECUTIONS:
        for number in count(1):
            if completes(url, prefix, number):
                break


if __name__ == "__main__":
    main(*sys.argv[1:])
