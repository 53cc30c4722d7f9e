"""Reads the history from the databases of the services: read-only, and with none of the code that wrote them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import UtcDateTime
from graphmesh_local.databases import DatabaseUrls
from graphmesh_local.readonly_database import connect_read_only, read_only_engine
from graphmesh_nodes.approval_terms import ApprovalStatus
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import EventKind

from graphmesh_chaos.history import (
    NOTHING_OBSERVED,
    Answer,
    Approval,
    Charge,
    Effect,
    Epoch,
    Event,
    History,
    Invoice,
    Observed,
    Posting,
    Run,
    RunRequest,
    Ticket,
)
from graphmesh_chaos.late_effects import read_commits

RUNS = sa.table(
    "runs",
    *map(sa.column, ("run_id", "request_id", "status", "last_seq", "epoch", "lease_owner")),
    sa.column("output", sa.JSON(none_as_null=True)),
)
EVENTS = sa.table(
    "run_events",
    *map(sa.column, ("run_id", "seq", "kind", "node")),
    sa.column("time", UtcDateTime),
    sa.column("data", sa.JSON),
)
INVOICES = sa.table("invoices", *map(sa.column, ("invoice_id", "total", "outstanding")))
CHARGES = sa.table("charges", *map(sa.column, ("charge_id", "invoice_id", "amount")))
POSTINGS = sa.table("postings", *map(sa.column, ("debit", "credit", "amount", "reference")))
TICKETS = sa.table("tickets", *map(sa.column, ("number", "customer_id")))
EFFECTS = sa.table("effects", *map(sa.column, ("key", "run", "node", "response", "approval")))
INTERRUPTS = sa.table("interrupts", *map(sa.column, ("approval_id", "run_id", "status")))
EPOCHS = sa.table("run_epochs", *map(sa.column, ("run", "epoch")))

Row = Mapping[str, Any]
SelectAll = Callable[..., Sequence[Row]]
"""Selects all rows of a table, ordered by the columns that follow it."""


def read_history(
    databases: DatabaseUrls,
    requests: Sequence[RunRequest],
    answers: Sequence[Answer],
    observed: Observed = NOTHING_OBSERVED,
) -> History:
    """The history, with what clients observed. Effects outside of any run, which created the invoices, are left out."""
    with (
        select_all_from(databases["orchestrator"]) as orchestrator,
        select_all_from(databases["billing"]) as billing,
        select_all_from(databases["ticketing"]) as ticketing,
    ):
        return History(
            requests=requests,
            runs=[_run(row) for row in orchestrator(RUNS)],
            events=[_event(row) for row in orchestrator(EVENTS, EVENTS.c.run_id, EVENTS.c.seq)],
            invoices=[Invoice(**row) for row in billing(INVOICES)],
            charges=[Charge(**row) for row in billing(CHARGES)],
            postings=[Posting(**row) for row in billing(POSTINGS)],
            tickets=[Ticket(f"T-{row['number']}", row["customer_id"]) for row in ticketing(TICKETS)],
            effects=[_effect(row) for row in (*billing(EFFECTS), *ticketing(EFFECTS)) if row["run"]],
            epochs=[_epoch("billing", row) for row in billing(EPOCHS)]
            + [_epoch("ticketing", row) for row in ticketing(EPOCHS)],
            approvals=[_approval(row) for row in orchestrator(INTERRUPTS) if row["approval_id"]],
            answers=answers,
            observed=observed,
            commits=read_commits(databases),
        )


def count_open_runs(databases: DatabaseUrls) -> int:
    """The number of runs without a final status."""
    with select_all_from(databases["orchestrator"]) as orchestrator:
        return sum(not RunStatus(row["status"]).is_final for row in orchestrator(RUNS))


class ExecutingRuns:
    """Queries which runs are being executed. It keeps its connection, because it is polled."""

    def __init__(self, databases: DatabaseUrls) -> None:
        self._engine = read_only_engine(databases["orchestrator"], isolation_level="AUTOCOMMIT", pool_pre_ping=True)

    def of_worker(self, worker: str) -> Sequence[str]:
        """The ids of the runs that a worker executes, or with an empty name any worker.

        Empty while the database is down.
        """
        executing = sa.select(RUNS.c.run_id).where(RUNS.c.status == RunStatus.RUNNING)
        owned = executing.where(RUNS.c.lease_owner == worker) if worker else executing
        with suppress(sa.exc.OperationalError), self._engine.connect() as connection:
            return connection.execute(owned).scalars().all()
        return ()

    def close(self) -> None:
        self._engine.dispose()


@contextmanager
def select_all_from(url: str) -> Iterator[SelectAll]:
    """Select from one snapshot of a database, over a read-only connection."""
    with connect_read_only(url) as connection:

        def select_all(table: sa.TableClause, *order: sa.ColumnElement[Any]) -> Sequence[Row]:
            return [dict(row) for row in connection.execute(sa.select(table).order_by(*order)).mappings()]

        yield select_all


def _run(row: Row) -> Run:
    output = row["output"] or {}
    return Run(
        run_id=row["run_id"],
        request_id=row["request_id"],
        status=RunStatus(row["status"]),
        charge_id=output.get("charge_id", ""),
        ticket_id=output.get("ticket_id", ""),
        last_seq=row["last_seq"],
        epoch=row["epoch"],
        answer=output.get("answer", ""),
    )


def _event(row: Row) -> Event:
    data, status = row["data"], None
    if row["kind"] == EventKind.STATUS:
        status = RunStatus(data["status"])
    is_call, is_start = row["kind"] == EventKind.TOOL_CALLED, row["kind"] == EventKind.NODE_STARTED
    effect_key = data["effect_key"] if is_call and data["may_have_happened"] else ""
    has_response = bool(effect_key) and data["error"] is None
    return Event(row["run_id"], row["seq"], row["time"], status, effect_key, has_response, row["node"], is_start)


def _effect(row: Row) -> Effect:
    return Effect(row["run"], row["node"], row["response"] is not None, row["approval"], row["key"])


def _epoch(service: str, row: Row) -> Epoch:
    return Epoch(service, row["run"], row["epoch"])


def _approval(row: Row) -> Approval:
    return Approval(row["approval_id"], row["run_id"], ApprovalStatus(row["status"]))
