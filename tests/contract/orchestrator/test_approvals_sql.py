"""Approvals in SQL with many parked runs."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.epoch import Epoch
from graphmesh_orchestrator.db.tables import interrupts, runs
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.rows import columns_of
from graphmesh_orchestrator.runs.run import Run

from tests.contract.orchestrator.stores import SERVED, SqlStores
from tests.contract.orchestrator.test_approvals import ANA, APPROVED, a_run, request_row


def interrupt_columns(run: Run) -> Mapping[str, Any]:
    """Return the columns of an approval request that expires in a minute."""
    columns: dict[str, Any] = {**request_row(run.run_id), "expires": datetime.now(UTC).timestamp() + 60}
    del columns["ttl"]
    return columns


async def test_ten_thousand_parked_runs_are_rows_and_nothing_else(sql_stores: SqlStores) -> None:
    """No worker claims one, and the one that is answered resumes among them."""
    now = datetime.now(UTC)
    parked = [
        a_run(number).with_state(status=RunStatus.INTERRUPTED, parked=now, holds_thread=True, epoch=Epoch(1))
        for number in range(10_000)
    ]
    async with sql_stores.database.transaction() as connection:
        rows = [{**columns_of(run), "lease_owner": "", "lease_expires": 0} for run in parked]
        await connection.execute(sa.insert(runs), rows)
        await connection.execute(sa.insert(interrupts), [interrupt_columns(run) for run in parked])
    approvals, leases = sql_stores.approvals, sql_stores.leases("worker")
    assert (await leases.claim(SERVED, 100), await approvals.expire(100)) == ([], 0)
    await approvals.answer(ANA, "apr_run_7000_1", APPROVED, "")
    assert [run.run_id for run in await leases.claim(SERVED, 100)] == ["run_7000"]
