"""Pruning of long threads."""

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_orchestrator.checkpoints import LogSaver
from graphmesh_orchestrator.checkpoints.encoding import Head
from graphmesh_orchestrator.checkpoints.tables import checkpoints

from tests.contract.checkpoints import kit
from tests.integration.orchestrator.loop_steps import cpu_seconds, measured_steps

CHECKPOINTS = 10_000


async def test_no_step_of_the_event_loop_decodes_all_checkpoints_of_a_thread(
    saver: LogSaver, database: Database
) -> None:
    await kit.put(saver, kit.at("t"), **{f"channel{number}": number for number in range(20)})
    [row] = await database.rows(sa.select(checkpoints))
    copies = [{**row._mapping, "checkpoint_id": f"0{number}", "stamp": -number} for number in range(CHECKPOINTS)]
    async with database.transaction() as connection:
        await connection.execute(sa.insert(checkpoints), copies)
    decoding = cpu_seconds(lambda: [Head.unpacked(saver.serde, row.head) for _ in range(CHECKPOINTS)])
    with measured_steps() as steps:
        await saver.aprune(["t"], strategy="keep_latest")
    assert steps.longest < decoding / 2, steps.callback
    [kept] = await database.rows(sa.select(checkpoints.c.checkpoint_id))
    assert kept.checkpoint_id == row.checkpoint_id
