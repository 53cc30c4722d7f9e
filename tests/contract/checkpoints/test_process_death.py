"""Threads can be resumed after the death of a process between any two statements, with all reported checkpoints."""

import asyncio
import os
import sys
from collections import defaultdict
from pathlib import Path

from graphmesh_chassis.database import Database
from graphmesh_orchestrator.checkpoints import LogSaver
from graphmesh_orchestrator.checkpoints.fork import fork_thread
from langgraph.types import Command

from tests.contract.checkpoints import kit

ROOT = Path(__file__).parents[3]


async def reported_checkpoints(url: str) -> dict[str, list[str]]:
    """Execute processes that die before each statement; return the ids that they reported, by thread."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = (sys.executable, "-m", "tests.contract.checkpoints.dying_process", url)
    process = await asyncio.create_subprocess_exec(*command, stdout=-1, env=environment, cwd=ROOT)
    printed, _ = await process.communicate()
    assert process.returncode == 0
    reported = defaultdict(list)
    for line in printed.decode().splitlines():
        thread, _, checkpoint_id = line.partition(" ")
        reported[thread].append(checkpoint_id)
    return reported


async def test_resumes_after_death_between_any_two_statements(url: str, database: Database, saver: LogSaver) -> None:
    """The reported checkpoints are stored, all checkpoints are one chain, and the graph ends with the same state."""
    reported = await reported_checkpoints(url)
    stored = {found.config["configurable"]["thread_id"] for found in await kit.list_all(saver, None)}
    assert len(stored) > 20
    assert {thread.rpartition("-")[0] + "-" for thread in stored} == {kit.INTERRUPTED, kit.BUFFERED, kit.PRUNED}
    assert reported.keys() <= stored
    for thread in sorted(stored):
        found = await kit.list_all(saver, kit.at(thread, ns=""))
        ids = [one.checkpoint["id"] for one in found]
        parents = [one.parent_config["configurable"]["checkpoint_id"] for one in found if one.parent_config]
        is_pruned = thread.startswith(kit.PRUNED) and len(parents) == len(ids)
        assert parents[: -1 if is_pruned else None] == ids[1:]
        everywhere = [one async for one in saver.alist({"configurable": {"thread_id": thread}})]
        assert set(reported[thread]) <= {one.checkpoint["id"] for one in everywhere}
        await resume(saver, thread)
        await fork_and_prune(database, saver, thread)


async def resume(saver: LogSaver, thread: str) -> None:
    if thread.startswith(kit.BUFFERED):
        ended = await kit.chain(saver, nodes=kit.TWO).ainvoke(None, kit.at(thread), durability="sync")
        assert ended == {"log": [kit.LONG, *kit.TWO], "document": kit.DOCUMENT}
        return
    if thread.startswith(kit.PRUNED):
        ended = await kit.chain(saver, nodes=kit.TWO).ainvoke(None, kit.at(thread), durability="sync")
        once = [kit.LONG, *kit.TWO]
        assert ended["log"] in (once, [*once, "again", *kit.TWO])
        return
    graph = kit.interrupting(saver)
    await graph.ainvoke(None, kit.at(thread), durability="sync")
    ended = await graph.ainvoke(Command(resume="yes"), kit.at(thread), durability="sync")
    assert ended == {"log": ["other", "ask", "end"], "answer": "yes"}


async def fork_and_prune(database: Database, saver: LogSaver, thread: str) -> None:
    """A fork has the newest state, and so has either thread when its history is pruned."""
    before = await saver.aget_tuple(kit.at(thread))
    async with database.transaction() as connection:
        await fork_thread(connection, saver.serde, thread, f"fork of {thread}", "")
    await saver.aprune([thread, f"fork of {thread}"])
    for name in (thread, f"fork of {thread}"):
        after = await saver.aget_tuple(kit.at(name))
        assert before
        assert after
        assert after.checkpoint == before.checkpoint
