"""A crash between any two statements leaves threads that go on, with all that was reported as stored (C1)."""

import asyncio
import os
import sys
from collections import defaultdict
from pathlib import Path

from graphmesh_chassis.database import Database
from graphmesh_orchestrator.checkpoints import LogSaver
from langgraph.types import Command

from tests.contract.checkpoints import kit

ROOT = Path(__file__).parents[3]


async def crashed(url: str) -> dict[str, list[str]]:
    """The ids that were reported, by thread, of processes that died at every place."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = (sys.executable, "-m", "tests.contract.checkpoints.crashing", url)
    process = await asyncio.create_subprocess_exec(*command, stdout=-1, env=environment, cwd=ROOT)
    printed, _ = await process.communicate()
    assert process.returncode == 0
    reported = defaultdict(list)
    for line in printed.decode().splitlines():
        thread, _, checkpoint_id = line.partition(" ")
        reported[thread].append(checkpoint_id)
    return reported


async def test_a_crash_between_any_two_statements(url: str, database: Database, saver: LogSaver) -> None:
    """Whatever was reported is there, the checkpoints are one chain, and the graph ends as if nothing had happened."""
    reported = await crashed(url)
    stored = {found.config["configurable"]["thread_id"] for found in await kit.listed(saver, None)}
    assert len(stored) > 20
    assert reported.keys() <= stored
    for thread in sorted(stored):
        found = await kit.listed(saver, kit.at(thread, ns=""))
        ids = [one.checkpoint["id"] for one in found]
        parents = [one.parent_config["configurable"]["checkpoint_id"] for one in found if one.parent_config]
        assert parents == ids[1:]
        everywhere = [one async for one in saver.alist({"configurable": {"thread_id": thread}})]
        assert set(reported[thread]) <= {one.checkpoint["id"] for one in everywhere}
        await goes_on(saver, thread)


async def goes_on(saver: LogSaver, thread: str) -> None:
    if thread.startswith("t"):
        ended = await kit.chain(saver, nodes=kit.TWO).ainvoke(None, kit.at(thread), durability="sync")
        assert ended == {"log": list(kit.TWO), "document": kit.DOCUMENT}
        return
    graph = kit.asking(saver)
    await graph.ainvoke(None, kit.at(thread), durability="sync")
    ended = await graph.ainvoke(Command(resume="yes"), kit.at(thread), durability="sync")
    assert ended == {"log": ["other", "ask", "end"], "answer": "yes"}
