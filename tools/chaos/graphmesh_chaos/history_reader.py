"""Reads the history from the databases of the services: read-only, and with none of the code that wrote them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from graphmesh.orchestrator.v1 import RunEvent, StreamRunResponse
from graphmesh_chassis.timestamps import from_timestamp
from graphmesh_local.databases import DatabaseUrls
from graphmesh_local.readonly_database import connect_read_only, read_only_engine
from graphmesh_nodes.approval_terms import ApprovalStatus
from graphmesh_orchestrator.run_status import RunStatus

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
    JournalEntry,
    Observed,
    Posting,
    Run,
    RunRequest,
    Ticket,
    status_of,
)
from graphmesh_chaos.late_effects import read_commits

RUNS = sa.table(
    "runs",
    *map(sa.column, ("run_id", "request_id", "status", "last_seq", "epoch", "lease_owner")),
    sa.column("output", sa.JSON(none_as_null=True)),
)
EVENTS = sa.table("run_events", *map(sa.column, ("run_id", "last_seq", "kinds", "data")))
INVOICES = sa.table("invoices", *map(sa.column, ("invoice_id", "total", "outstanding")))
CHARGES = sa.table("charges", *map(sa.column, ("charge_id", "invoice_id", "amount")))
POSTINGS = sa.table("postings", *map(sa.column, ("debit", "credit", "amount", "reference")))
ENTRIES = sa.table("entries", *map(sa.column, ("kind", "amount", "reference", "invoice_id")))
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
            events=[
                event for row in orchestrator(EVENTS, EVENTS.c.run_id, EVENTS.c.last_seq) for event in events_in(row)
            ],
            invoices=[Invoice(**row) for row in billing(INVOICES)],
            charges=[Charge(**row) for row in billing(CHARGES)],
            postings=[Posting(**row) for row in billing(POSTINGS)],
            entries=[JournalEntry(**row) for row in billing(ENTRIES)],
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


def events_in(row: Row) -> Iterator[Event]:
    """Yield the events of a row of `run_events`."""
    found, kinds = StreamRunResponse.FromString(row["data"]).events, row["kinds"]
    for index, event in enumerate(found):
        kind = event.DESCRIPTOR.fields_by_name[event.WhichOneof("event") or "seq"].number
        seq = row["last_seq"] - len(found) + 1 + index
        is_indexed = event.seq == seq and kinds[index : index + 1] == bytes([kind]) and len(kinds) == len(found)
        yield _event(row["run_id"], event, is_indexed=is_indexed)


def _event(run_id: str, event: RunEvent, *, is_indexed: bool) -> Event:
    call = event.tool_called
    effect_key = call.effect_key if call.may_have_happened else ""
    return Event(
        run_id,
        event.seq,
        from_timestamp(event.time),
        status_of(event),
        effect_key,
        has_response=bool(effect_key) and not call.status.code,
        node=event.node,
        is_node_start=event.HasField("node_started"),
        is_indexed=is_indexed,
    )


def _effect(row: Row) -> Effect:
    return Effect(row["run"], row["node"], row["response"] is not None, row["approval"], row["key"])


def _epoch(service: str, row: Row) -> Epoch:
    return Epoch(service, row["run"], row["epoch"])


def _approval(row: Row) -> Approval:
    return Approval(row["approval_id"], row["run_id"], ApprovalStatus(row["status"]))
