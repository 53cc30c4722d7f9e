"""A batch of the group commit as one statement of PostgreSQL, which is a transaction of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import sqlalchemy as sa

from graphmesh_orchestrator.checkpoints.config_keys import Claim
from graphmesh_orchestrator.checkpoints.entries import Entry, Row
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes
from graphmesh_orchestrator.db.clock import LEASE_SECONDS, seconds_now
from graphmesh_orchestrator.db.row_batches import Received, Sent, Types, compiled
from graphmesh_orchestrator.db.tables import events, runs

CLAIMS, STATES = "claims", "states"
"""The parameters besides those for the rows of a table, which have its name."""
OWNER, EPOCH = "claimed_by", "claimed_in"
"""The claim of a row; null for none."""
CLAIMED: Types = {OWNER: sa.Text(), EPOCH: sa.BigInteger()}
RUNNING = "running"
TABLES: Mapping[str, sa.Table] = {table.name: table for table in (checkpoints, task_writes, events)}


@dataclass
class Batch:
    """What is to be stored in one statement."""

    _sent: Sent = field(default_factory=Sent)
    _claimed: set[str] = field(default_factory=set)
    _rows: dict[str, list[Row]] = field(default_factory=dict)
    _states: dict[Claim, Row] = field(default_factory=dict)
    _columns: set[frozenset[str]] = field(default_factory=set)

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> "Batch | None":
        """Entries as a batch; none, where they take more than one statement."""
        batch = cls()
        for entry in entries:
            if entry.artifacts or entry.further:
                return None
            if entry.claim:
                batch.claim(entry.claim)
            batch.add(checkpoints, entry.checkpoints, entry.claim)
            batch.add(task_writes, entry.writes, entry.claim)
            batch.add(events, entry.events, entry.claim)
            if entry.run and entry.claim:
                batch.set(entry.run, entry.claim)
        return batch if len(batch._columns) <= 1 else None

    def claim(self, claim: Claim) -> None:
        """The run stays locked, and it is told which epoch it is in."""
        self._claimed.add(claim.run_id)

    def add(self, table: sa.Table, rows: Sequence[Row], claim: Claim | None) -> None:
        """Rows that are stored where the claim holds."""
        if rows:
            self._rows.setdefault(table.name, []).extend(self._under(claim, row) for row in rows)

    def set(self, state: Row, claim: Claim) -> None:
        """Columns of the claim's run; what is said last holds."""
        self._states[claim] = self._under(claim, state)
        self._columns.add(frozenset(state))

    def statement(self) -> tuple[str, dict[str, Any]]:
        """It, and its parameters. It returns the claimed runs with their epochs."""
        text, constants = _statement(frozenset(self._rows), frozenset[str]().union(*self._columns))
        self._sent.add(CLAIMS, [{OWNER: run_id} for run_id in self._claimed])
        self._sent.add(STATES, self._states.values())
        for name, rows in self._rows.items():
            self._sent.add(name, rows)
        return text, {**constants, **self._sent.parameters}

    def _under(self, claim: Claim | None, row: Row) -> Row:
        owner: Row = {OWNER: claim.run_id, EPOCH: claim.epoch} if claim else {OWNER: None, EPOCH: None}
        return {**owner, **self._sent.row(row)}


@cache
def _statement(tables: frozenset[str], columns: frozenset[str]) -> tuple[str, dict[str, Any]]:
    """The statement that inserts into these tables and sets these columns of runs, and its constants."""
    claimed = _claimed()
    stored = [_inserted(TABLES[name], claimed) for name in sorted(tables)]
    updated = [_updated(columns, claimed)] if columns else []
    return compiled(sa.select(claimed.c.run_id, claimed.c.epoch).add_cte(*stored, *updated))


def _claimed() -> sa.CTE:
    """The claimed runs and their epochs. They stay locked, so what is found holds until the commit."""
    ids = sa.select(Received(CLAIMS, (), CLAIMED).rows.c[OWNER]).scalar_subquery()
    query = sa.select(runs.c.run_id, runs.c.epoch).where(runs.c.run_id == sa.any_(sa.func.array(ids)))
    return query.order_by(runs.c.run_id).with_for_update(key_share=True).cte("claimed")


def _inserted(table: sa.Table, claimed: sa.CTE) -> sa.CTE:
    """The rows of a table whose claims hold."""
    given = Received(table.name, table.c, CLAIMED)
    query = sa.select(*map(given.value, table.c)).where(sa.or_(given.rows.c[OWNER].is_(None), _holds(given, claimed)))
    insert = sa.insert(table).from_select([column.name for column in table.c], query)
    return insert.cte(f"new_{table.name}")


def _updated(names: frozenset[str], claimed: sa.CTE) -> sa.CTE:
    """The claimed runs as they stand now, with their leases renewed; but for those that have stopped."""
    columns = [column for column in runs.c if column.name in names]
    given = Received(STATES, columns, CLAIMED)
    update = sa.update(runs).values({column: given.value(column) for column in columns})
    renewed = update.values(lease_expires=seconds_now() + LEASE_SECONDS)
    is_its_own = (runs.c.run_id == given.rows.c[OWNER], runs.c.status == RUNNING)
    return renewed.where(*is_its_own, _holds(given, claimed)).cte("updated")


def _holds(given: Received, claimed: sa.CTE) -> sa.ColumnElement[bool]:
    return sa.exists().where(claimed.c.run_id == given.rows.c[OWNER], claimed.c.epoch == given.rows.c[EPOCH])
