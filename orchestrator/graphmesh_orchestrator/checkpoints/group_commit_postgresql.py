"""A batch of the group commit as one statement of PostgreSQL, which is a transaction of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from graphmesh_orchestrator.checkpoints.config_keys import RunEpoch
from graphmesh_orchestrator.checkpoints.entries import Entry
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes
from graphmesh_orchestrator.db.clock import LEASE_SECONDS, seconds_now
from graphmesh_orchestrator.db.row_batches import BatchRows, RowBatch, Types, compiled
from graphmesh_orchestrator.db.tables import artifacts, events, literal, runs
from graphmesh_orchestrator.run_status import RunStatus

EPOCHS, UPDATES = "epochs", "updates"
"""The parameters for the epochs of runs and the updates of runs; the rows of a table are in a parameter of its name."""
OWNER, EPOCH = "owner_run", "owner_epoch"
"""The run and the epoch that a row is stored under; null for none."""
OWNED: Types = {OWNER: sa.Text(), EPOCH: sa.BigInteger()}
TABLES: Mapping[str, sa.Table] = {table.name: table for table in (checkpoints, task_writes, artifacts, events)}


TOUCHED = {"stamp": artifacts.c.stamp + 1}
"""The change of an artifact that a row refers to once more, so that pruning does not delete it."""


@dataclass
class Batch:
    """Entries that one statement stores."""

    _parameters: RowBatch = field(default_factory=RowBatch)
    _run_ids: set[str] = field(default_factory=set)
    _rows: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    _artifacts: dict[tuple[str, str], RunEpoch | None] = field(default_factory=dict)
    """Thread and name of the collected artifacts, with the epochs under which they are stored."""
    _updates: dict[RunEpoch, Mapping[str, Any]] = field(default_factory=dict)
    _columns: set[frozenset[str]] = field(default_factory=set)

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> "Batch | None":
        """Return entries as a batch; None where they take more than one statement."""
        batch = cls()
        for entry in entries:
            if entry.interrupts or entry.deliveries or _parks(entry) or not batch._add_artifacts(entry):
                return None
            if entry.run_epoch:
                batch._run_ids.add(entry.run_epoch.run_id)
            batch._add(checkpoints, entry.checkpoints, entry.run_epoch)
            batch._add(task_writes, entry.writes, entry.run_epoch)
            batch._add(events, entry.events, entry.run_epoch)
            if entry.run and entry.run_epoch:
                batch._updates[entry.run_epoch] = batch._owned(entry.run_epoch, entry.run)
                batch._columns.add(frozenset(entry.run))
        return batch if len(batch._columns) <= 1 else None

    def statement(self) -> tuple[str, dict[str, Any]]:
        """Return the statement and its parameters. It returns the current epochs of the entries' runs."""
        text, constants = _statement(frozenset(self._rows), frozenset[str]().union(*self._columns))
        self._parameters.add(EPOCHS, [{OWNER: run_id} for run_id in self._run_ids])
        self._parameters.add(UPDATES, self._updates.values())
        for name, rows in self._rows.items():
            self._parameters.add(name, rows)
        return text, {**constants, **self._parameters.parameters}

    def _add(self, table: sa.Table, rows: Sequence[Mapping[str, Any]], epoch: RunEpoch | None) -> None:
        if rows:
            self._rows.setdefault(table.name, []).extend(self._owned(epoch, row) for row in rows)

    def _add_artifacts(self, entry: Entry) -> bool:
        """Add each artifact once. Returns False where one is that of another epoch too, which may be refused."""
        for row in entry.artifacts:
            key = (row["thread_id"], row["name"])
            if key not in self._artifacts:
                self._artifacts[key] = entry.run_epoch
                self._add(artifacts, [row], entry.run_epoch)
            elif self._artifacts[key] != entry.run_epoch:
                return False
        return True

    def _owned(self, epoch: RunEpoch | None, row: Mapping[str, Any]) -> Mapping[str, Any]:
        owner = {OWNER: epoch.run_id, EPOCH: epoch.epoch} if epoch else {OWNER: None, EPOCH: None}
        return {**owner, **self._parameters.row(row)}


def _parks(entry: Entry) -> bool:
    """Whether the entry parks its run, which a second statement makes pending where it was cancelled meanwhile."""
    return entry.run.get("status") == RunStatus.INTERRUPTED


@cache
def _statement(tables: frozenset[str], columns: frozenset[str]) -> tuple[str, dict[str, Any]]:
    """Return the statement that inserts into these tables and sets these columns of runs, and its constants."""
    current = _current_epochs()
    inserts = [_insert(TABLES[name], current) for name in sorted(tables)]
    updates = [_update(columns, current)] if columns else []
    return compiled(sa.select(current.c.run_id, current.c.epoch).add_cte(*inserts, *updates))


def _current_epochs() -> sa.CTE:
    """Select the runs with their epochs. They stay locked, so that the epochs are current until the commit."""
    ids = sa.select(BatchRows(EPOCHS, (), OWNED).rows.c[OWNER]).scalar_subquery()
    query = sa.select(runs.c.run_id, runs.c.epoch).where(runs.c.run_id == sa.any_(sa.func.array(ids)))
    return query.order_by(runs.c.run_id).with_for_update(key_share=True).cte("current_epochs")


def _insert(table: sa.Table, current: sa.CTE) -> sa.CTE:
    """Insert the rows of a table whose epochs are current."""
    given = BatchRows(table.name, table.c, OWNED)
    allowed = sa.or_(given.rows.c[OWNER].is_(None), _is_current(given, current))
    query = sa.select(*map(given.value, table.c)).where(allowed)
    names = [column.name for column in table.c]
    if table is not artifacts:
        return sa.insert(table).from_select(names, query).cte(f"new_{table.name}")
    ordered = query.order_by(*(given.rows.c[column.name] for column in artifacts.primary_key))
    insert = postgresql.insert(artifacts).from_select(names, ordered)
    return insert.on_conflict_do_update(index_elements=artifacts.primary_key, set_=TOUCHED).cte("new_artifacts")


def _update(names: frozenset[str], current: sa.CTE) -> sa.CTE:
    """Update the runs whose epochs are current and that have not stopped, and renew their leases."""
    columns = [column for column in runs.c if column.name in names]
    given = BatchRows(UPDATES, columns, OWNED)
    values = {column: given.value(column) for column in columns}
    if runs.c.takeovers in values:  # a worker may have declared meanwhile that it lives
        values[runs.c.takeovers] = sa.func.least(runs.c.takeovers, values[runs.c.takeovers])
    update = sa.update(runs).values(values)
    renewed = update.values(lease_expires=seconds_now() + LEASE_SECONDS)
    is_its_own = (runs.c.run_id == given.rows.c[OWNER], runs.c.status == literal(RunStatus.RUNNING))
    return renewed.where(*is_its_own, _is_current(given, current)).cte("updated")


def _is_current(given: BatchRows, current: sa.CTE) -> sa.ColumnElement[bool]:
    return sa.exists().where(current.c.run_id == given.rows.c[OWNER], current.c.epoch == given.rows.c[EPOCH])
