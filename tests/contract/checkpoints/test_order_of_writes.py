"""Later writes and checkpoints are the newest, also where the clock of an earlier worker was ahead."""

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_orchestrator.checkpoints import LogSaver
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes
from langgraph.types import Interrupt

from tests.contract.checkpoints import kit

HOURS = 5 * 3_600 * 10**9
"""In nanoseconds, as stamps are."""
QUESTIONS = [Interrupt("first?", id="a"), Interrupt("second?", id="b")]


async def test_second_question_replaces_the_first(database: Database, saver: LogSaver) -> None:
    config = await kit.put(saver, kit.at("t"), value=1)
    await saver.aput_writes(config, [("__interrupt__", QUESTIONS[:1])], "task")
    async with database.transaction() as connection:
        await connection.execute(sa.update(task_writes).values(stamp=task_writes.c.stamp + HOURS))
    assert await questions(saver) == QUESTIONS[:1]
    await saver.aput_writes(config, [("__interrupt__", QUESTIONS[1:])], "task")
    assert await questions(saver) == QUESTIONS[1:]


async def test_fork_is_the_newest_checkpoint(database: Database, saver: LogSaver) -> None:
    first = await kit.put(saver, kit.at("t"), value=1)
    second = await kit.put(saver, first, value=2)
    other = checkpoints.c.checkpoint_id == second["configurable"]["checkpoint_id"]
    async with database.transaction() as connection:
        await connection.execute(sa.update(checkpoints).where(other).values(stamp=checkpoints.c.stamp + HOURS))
    assert await saver.aget_tuple(first) is not None
    await kit.put(saver, first, value=3)
    newest = await saver.aget_tuple(kit.at("t"))
    assert newest is not None
    assert newest.checkpoint["channel_values"] == {"value": 3}


async def questions(saver: LogSaver) -> list[Interrupt]:
    """Read the questions of the task as a worker that resumes it."""
    found = await saver.aget_tuple(kit.at("t"))
    assert found is not None
    assert found.pending_writes is not None
    [(_, _, value)] = found.pending_writes
    return list(value)
