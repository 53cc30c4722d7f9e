"""A preempting run cancels the runs before it, and no other, whatever happens between two statements."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Multitask
from graphmesh_orchestrator.runs.runs_sql import READY, preempt

from tests.contract.orchestrator.stores import SqlStores
from tests.contract.orchestrator.test_runs import PREEMPTING, a_run, add


class PausedConnection:
    """A connection whose process is paused before its second statement, while others continue."""

    def __init__(self, connection: Any, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._connection, self._meanwhile, self._statements = connection, meanwhile, 0

    async def execute(self, statement: Any) -> Any:
        self._statements += 1
        if self._statements == 2:
            await self._meanwhile()
        return await self._connection.execute(statement)


@pytest.mark.parametrize("strategy", PREEMPTING)
async def test_run_that_is_cancelled_meanwhile_preempts_no_other(sql_stores: SqlStores, strategy: Multitask) -> None:
    """A process is paused when it has read that a run preempts; a later run cancels that run, and gets the thread."""
    if not sql_stores.is_shared:
        pytest.skip("SQLite has one writer")
    await add(sql_stores, a_run(1), a_run(2, multitask=strategy))

    async def preempted_by_later_run() -> None:
        await add(sql_stores, a_run(3, multitask=Multitask.INTERRUPT))
        await sql_stores.end("run_1", "run_2")
        assert await sql_stores.pending.admit() == 1

    async with sql_stores.database.transaction() as connection:
        await preempt(PausedConnection(connection, preempted_by_later_run), READY)  # type: ignore[arg-type]
    run = await sql_stores.runs.get("acme", "run_3")
    assert (run.status, run.state.cancel_reason, run.state.rolled_back) == (RunStatus.PENDING, "", False)
