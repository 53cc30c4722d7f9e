"""Leases in SQL with many runs: the statements read few rows, through partial indexes."""

import pytest
import sqlalchemy as sa
from graphmesh_orchestrator.db.tables import CLAIMABLE, HELD, WAITING, runs
from graphmesh_orchestrator.runs.rows import columns_of

from tests.contract.orchestrator.stores import SqlStores
from tests.contract.orchestrator.test_leases import a_run


async def test_tenants_take_turns_among_a_thousand_runs(sql_stores: SqlStores) -> None:
    """However many runs of one tenant are pending, those of another one are claimed next."""
    busy = [a_run(number, tenant="busy", holds_thread=True) for number in range(1000)]
    quiet = [a_run(number, tenant="quiet", holds_thread=True) for number in (1000, 1001)]
    rows = [{**columns_of(run), "lease_owner": "", "lease_expires": 0} for run in [*busy, *quiet]]
    async with sql_stores.database.transaction() as connection:
        await connection.execute(sa.insert(runs), rows)
    oldest = {f"run_{number}" for number in range(8)}
    assert set(await sql_stores.claimed(10, "w")) == {*oldest, "run_1000", "run_1001"}


@pytest.mark.parametrize(
    ("condition", "index"), [(CLAIMABLE, "runs_claimable"), (HELD, "runs_by_owner"), (WAITING, "runs_waiting")]
)
async def test_polls_read_no_run_that_has_ended(
    sql_stores: SqlStores, condition: sa.ColumnElement[bool], index: str
) -> None:
    """The databases match the conditions of statements with those of the partial indexes, however many runs ended."""
    database, query = sql_stores.database, sa.select(runs.c.run_id).where(condition)
    async with database.transaction() as connection:
        explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        if not database.is_sqlite:
            await connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        statement = query.compile(dialect=connection.dialect)
        assert not statement.params
        plan = (await connection.execute(sa.text(f"{explain} {statement}"))).all()
    assert index in str(plan)
