"""The facts, read from the services' own databases: read-only, and past the code that wrote them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import UtcDateTime
from graphmesh_local.databases import Databases
from graphmesh_local.readonly_database import reader, reading

from graphmesh_chaos.facts import (
    OPEN,
    Answer,
    Approval,
    Charge,
    Effect,
    Epoch,
    Event,
    Facts,
    Invoice,
    Order,
    Posting,
    Run,
    Ticket,
)

RUNS = sa.table(
    "runs",
    *map(sa.column, ("run_id", "request_id", "status", "last_seq", "epoch", "lease_owner")),
    sa.column("output", sa.JSON(none_as_null=True)),
)
EVENTS = sa.table(
    "run_events", sa.column("run_id"), sa.column("seq"), sa.column("time", UtcDateTime), sa.column("data", sa.JSON)
)
INVOICES = sa.table("invoices", *map(sa.column, ("invoice_id", "total", "outstanding")))
CHARGES = sa.table("charges", *map(sa.column, ("charge_id", "invoice_id", "amount")))
POSTINGS = sa.table("postings", *map(sa.column, ("debit", "credit", "amount", "reference")))
TICKETS = sa.table("tickets", *map(sa.column, ("number", "customer_id")))
EFFECTS = sa.table("effects", *map(sa.column, ("run", "node", "response", "approval")))
INTERRUPTS = sa.table("interrupts", *map(sa.column, ("approval_id", "run_id", "status")))
EPOCHS = sa.table("run_epochs", *map(sa.column, ("run", "epoch")))


Rows = Callable[..., Sequence[Mapping[str, Any]]]
"""All rows of a table, in the order of the columns that follow it."""


def read(databases: Databases, orders: Sequence[Order], answers: Sequence[Answer]) -> Facts:
    """All that a trial left behind. The keys under which the invoices were issued are of no run, and left out."""
    with (
        rows_of(databases["orchestrator"]) as told,
        rows_of(databases["billing"]) as billing,
        rows_of(databases["ticketing"]) as ticketing,
    ):
        return Facts(
            orders=orders,
            runs=[_run(row) for row in told(RUNS)],
            events=[_event(row) for row in told(EVENTS, EVENTS.c.run_id, EVENTS.c.seq)],
            invoices=[Invoice(**row) for row in billing(INVOICES)],
            charges=[Charge(**row) for row in billing(CHARGES)],
            postings=[Posting(**row) for row in billing(POSTINGS)],
            tickets=[Ticket(f"T-{row['number']}", row["customer_id"]) for row in ticketing(TICKETS)],
            effects=[_effect(row) for row in (*billing(EFFECTS), *ticketing(EFFECTS)) if row["run"]],
            epochs=[_epoch("billing", row) for row in billing(EPOCHS)]
            + [_epoch("ticketing", row) for row in ticketing(EPOCHS)],
            approvals=[Approval(**row) for row in told(INTERRUPTS) if row["approval_id"]],
            answers=answers,
        )


def open_runs(databases: Databases) -> int:
    """How many runs have not ended."""
    with rows_of(databases["orchestrator"]) as told:
        return sum(row["status"] in OPEN for row in told(RUNS))


class Executed:
    """Tells which runs are executed; over a connection that is kept, for it is asked often."""

    def __init__(self, databases: Databases) -> None:
        self._engine = reader(databases["orchestrator"], isolation_level="AUTOCOMMIT", pool_pre_ping=True)

    def by(self, worker: str) -> Sequence[str]:
        """The runs that a worker executes; without a worker, those that anybody does. None, where nobody can tell."""
        executed = sa.select(RUNS.c.run_id).where(RUNS.c.status == "running")
        owned = executed.where(RUNS.c.lease_owner == worker) if worker else executed
        with suppress(sa.exc.OperationalError), self._engine.connect() as connection:
            return connection.execute(owned).scalars().all()
        return ()

    def close(self) -> None:
        self._engine.dispose()


@contextmanager
def rows_of(url: str) -> Iterator[Rows]:
    """Read one state of a database, and be unable to write it."""
    with reading(url) as connection:

        def rows(table: sa.TableClause, *order: sa.ColumnElement[Any]) -> Sequence[Mapping[str, Any]]:
            return [dict(row) for row in connection.execute(sa.select(table).order_by(*order)).mappings()]

        yield rows


def _run(row: Mapping[str, Any]) -> Run:
    output = row["output"] or {}
    return Run(
        run_id=row["run_id"],
        request_id=row["request_id"],
        status=row["status"],
        charge_id=output.get("charge_id", ""),
        ticket_id=output.get("ticket_id", ""),
        last_seq=row["last_seq"],
        epoch=row["epoch"],
    )


def _event(row: Mapping[str, Any]) -> Event:
    return Event(row["run_id"], row["seq"], row["time"], row["data"].get("status", ""))


def _effect(row: Mapping[str, Any]) -> Effect:
    return Effect(row["run"], row["node"], row["response"] is not None, row["approval"])


def _epoch(service: str, row: Mapping[str, Any]) -> Epoch:
    return Epoch(service, row["run"], row["epoch"])
