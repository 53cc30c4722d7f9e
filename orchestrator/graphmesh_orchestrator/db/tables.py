"""The tables of runs, of what belongs to them, and of threads and artifacts, with the conditions of partial indexes."""

import sqlalchemy as sa
from graphmesh_chassis.database import UtcDateTime

from graphmesh_orchestrator import run_status
from graphmesh_orchestrator.run_status import RunStatus

metadata = sa.MetaData()
Key = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Keys are compared byte by byte on both databases."""

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("tenant", sa.String(63), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("thread_id", sa.String(64), nullable=False),
    sa.Column("graph", sa.String(64), nullable=False),
    sa.Column("roles", sa.JSON(none_as_null=True)),
    sa.Column("client", sa.String(255), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("input", sa.JSON(none_as_null=True)),
    sa.Column("output", sa.JSON(none_as_null=True)),
    sa.Column("output_blocks", sa.JSON(none_as_null=True)),
    sa.Column("error", sa.LargeBinary),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("context", sa.JSON(none_as_null=True)),
    sa.Column("configurable", sa.JSON(none_as_null=True)),
    sa.Column("breakpoints", sa.JSON(none_as_null=True)),
    sa.Column("stream_modes", sa.JSON(none_as_null=True)),
    sa.Column("assistant_id", sa.String(64), nullable=False, server_default=""),
    sa.Column("assistant_version", sa.Integer, nullable=False, server_default="0"),
    sa.Column("schedule_id", sa.String(64), nullable=False, server_default=""),
    sa.Column("trace", sa.String(100), nullable=False, server_default=""),
    sa.Column("recursion_limit", sa.Integer, nullable=False),
    sa.Column("ceilings", sa.JSON, nullable=False),
    sa.Column("usage", sa.JSON, nullable=False),
    sa.Column("multitask", sa.String(16), nullable=False),
    sa.Column("due", sa.Float, nullable=False),
    sa.Column("checkpoint_id", sa.String(64), nullable=False),
    sa.Column("webhook_url", sa.Text, nullable=False),
    sa.Column("graph_version", sa.Integer, nullable=False),
    sa.Column("versions", sa.JSON, nullable=False),
    sa.Column("holds_thread", sa.Boolean, nullable=False),
    sa.Column("parked", UtcDateTime),
    sa.Column("rolled_back", sa.Boolean, nullable=False),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("deadline", UtcDateTime, nullable=False),
    sa.Column("started", UtcDateTime),
    sa.Column("ended", UtcDateTime),
    sa.Column("cancel_reason", sa.String(500), nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("takeovers", sa.Integer, nullable=False, server_default="0"),
    sa.Column("open_effects", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("lease_owner", sa.String(64), nullable=False),
    sa.Column("lease_expires", sa.Float, nullable=False),
    postgresql_with={"fillfactor": 50},
)
"""`output_blocks` has the artifacts with the beginnings of long lists in `output`, by member; null for none.
`lease_expires` is in seconds since 1970 of the database's clock; 0: no worker holds the run.

A run is updated once a superstep: with room in its page, PostgreSQL does that without touching the indexes.
"""


def literal(value: str) -> sa.ColumnElement[str]:
    """A constant in the text of a statement: databases match the conditions of partial indexes literally."""
    return sa.literal_column(f"'{value}'", sa.String)


PENDING, EMPTY = literal(RunStatus.PENDING), literal("")
ACTIVE = runs.c.status.in_([literal(status) for status in run_status.ACTIVE])
"""Workers execute the run without anything else happening first, except that it may wait for its time or its turn."""
FINAL = runs.c.status.in_([literal(status) for status in run_status.FINAL])
"""The run has ended."""
CLAIMABLE = sa.and_(ACTIVE, sa.or_(runs.c.holds_thread, runs.c.cancel_reason != EMPTY))
"""A worker may claim the run. One that waits for its turn and is cancelled needs a worker to be ended."""
HELD = sa.and_(ACTIVE, runs.c.lease_owner != EMPTY)
"""A worker holds the run, or held it."""
WAITING = sa.and_(runs.c.status == PENDING, sa.not_(runs.c.holds_thread))
"""The run waits for its time or its turn on the thread."""
_ACTIVE_ROWS = f"status IN ({', '.join(map(repr, map(str, run_status.ACTIVE)))})"
_HELD_ROWS = sa.text(f"{_ACTIVE_ROWS} AND lease_owner <> ''")
_HOLDERS = sa.text("holds_thread")
by_holder = sa.Index(
    "runs_by_holder",
    runs.c.tenant,
    runs.c.thread_id,
    unique=True,
    sqlite_where=_HOLDERS,
    postgresql_where=_HOLDERS,
)
"""At most one run holds a thread."""
claimable = sa.Index(
    "runs_claimable",
    runs.c.tenant,
    runs.c.created,
    sqlite_where=sa.text(f"{_ACTIVE_ROWS} AND (holds_thread = 1 OR cancel_reason <> '')"),
    postgresql_where=sa.text(f"{_ACTIVE_ROWS} AND (holds_thread OR cancel_reason <> '')"),
)
"""No index has the end of a lease, so that renewing it touches none."""
by_owner = sa.Index("runs_by_owner", runs.c.lease_owner, sqlite_where=_HELD_ROWS, postgresql_where=_HELD_ROWS)
waiting = sa.Index(
    "runs_waiting",
    runs.c.due,
    sqlite_where=sa.text(f"status = '{RunStatus.PENDING}' AND holds_thread = 0"),
    postgresql_where=sa.text(f"status = '{RunStatus.PENDING}' AND NOT holds_thread"),
)
waiting_by_tenant = sa.Index(
    "runs_waiting_by_tenant",
    runs.c.tenant,
    sqlite_where=sa.text(f"status = '{RunStatus.PENDING}' AND holds_thread = 0"),
    postgresql_where=sa.text(f"status = '{RunStatus.PENDING}' AND NOT holds_thread"),
)
"""Counts the waiting runs of a tenant, however many of its runs have ended."""
_ENDED_ROWS = sa.text("ended IS NOT NULL")
by_end = sa.Index("runs_by_end", runs.c.ended, sqlite_where=_ENDED_ROWS, postgresql_where=_ENDED_ROWS)
by_thread = sa.Index("runs_by_thread", runs.c.tenant, runs.c.thread_id, runs.c.created)
by_age = sa.Index("runs_by_age", runs.c.tenant, runs.c.created, runs.c.run_id)
by_request = sa.Index(
    "runs_by_request",
    runs.c.tenant,
    runs.c.request_id,
    unique=True,
    sqlite_where=sa.text("request_id <> ''"),
    postgresql_where=sa.text("request_id <> ''"),
)
"""One run a request_id."""

events = sa.Table(
    "run_events",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("last_seq", sa.BigInteger, primary_key=True),
    sa.Column("kinds", sa.LargeBinary, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
"""One row for the events that are stored at once, up to the number `last_seq`: `data` is a serialized
`StreamRunResponse` with these events, `kinds` has the number of the field of `RunEvent` that each of them has, in a
byte."""

threads = sa.Table(
    "threads",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("thread_id", sa.String(64), primary_key=True),
    sa.Column("graph", sa.String(64), nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("used", UtcDateTime, nullable=False),
    sa.Column("ttl_seconds", sa.Float, nullable=False),
)
"""`used` is the time when a run was last added or the state was updated. `ttl_seconds` 0: the setting holds; negative:
the thread does not expire."""
sa.Index("threads_by_age", threads.c.tenant, threads.c.created, threads.c.thread_id)
HAS_TTL = threads.c.ttl_seconds > sa.literal_column("0")
_TTL_ROWS = sa.text("ttl_seconds > 0")
sa.Index(
    "threads_with_ttl",
    threads.c.tenant,
    threads.c.thread_id,
    sqlite_where=_TTL_ROWS,
    postgresql_where=_TTL_ROWS,
)

interrupts = sa.Table(
    "interrupts",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("interrupt_id", sa.String(64), primary_key=True),
    sa.Column("tenant", sa.String(63), nullable=False),
    sa.Column("node", sa.String(255), nullable=False),
    sa.Column("value", sa.JSON, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("answer", sa.JSON(none_as_null=True)),
    sa.Column("answered", UtcDateTime),
    sa.Column("answered_by", sa.String(255), nullable=False),
    sa.Column("approval_id", sa.String(64)),
    sa.Column("approval", sa.JSON(none_as_null=True)),
    sa.Column("expires", sa.Float, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
)
"""`answer` is `{"value": …}`. `approval` has the terms of an approval. `expires` is in seconds since 1970 of the
database's clock; 0: never."""
sa.Index("interrupts_by_approval", interrupts.c.approval_id, unique=True)
sa.Index(
    "interrupts_expiring",
    interrupts.c.expires,
    sqlite_where=sa.text("status = 'pending' AND expires > 0"),
    postgresql_where=sa.text("status = 'pending' AND expires > 0"),
)
sa.Index("interrupts_by_tenant", interrupts.c.tenant, interrupts.c.created, interrupts.c.approval_id)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("delivery_id", sa.String(64), primary_key=True),
    sa.Column("tenant", sa.String(63), nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("next_attempt", sa.Float, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Column("delivered", UtcDateTime),
)
_PENDING_ROWS = sa.text("status = 'pending'")
sa.Index("deliveries_by_run", deliveries.c.run_id, unique=True)
sa.Index("deliveries_by_age", deliveries.c.tenant, deliveries.c.created, deliveries.c.delivery_id)
sa.Index("deliveries_due", deliveries.c.next_attempt, sqlite_where=_PENDING_ROWS, postgresql_where=_PENDING_ROWS)

feedback = sa.Table(
    "run_feedback",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("subject", sa.String(255), primary_key=True),
    sa.Column("score", sa.Float, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("time", UtcDateTime, nullable=False),
)

daily_usage = sa.Table(
    "daily_usage",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("day", sa.BigInteger, primary_key=True),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("steps", "tokens", "cost", "effects")),
    sa.Index("daily_usage_by_day", "day"),
)
"""What the runs of tenants with budgets have used in a day, the number since 1970 (UTC)."""

artifacts = sa.Table(
    "artifacts",
    metadata,
    sa.Column("thread_id", Key, primary_key=True),
    sa.Column("name", Key, primary_key=True),
    sa.Column("media_type", sa.String(255), nullable=False),
    sa.Column("stamp", sa.BigInteger, nullable=False),
    sa.Column("base", Key),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
"""One row for equal bytes on a thread, named by a SHA-256 digest.

`output:…` is a block of outputs of runs; it is deleted with the last run that refers to it, by `runs.output_blocks`.
`value:…` is a packed value of checkpoints and task writes; it is deleted when none refers to it. Where it extends
another value, `base` names that, and `data` has the header of the value and what was added. `artifact:…` was
stored by a graph and lives as long as the thread. `stamp` grows with each new reference to the row: pruning deletes an
unreferenced row only if its stamp is the one that was read before.
"""
