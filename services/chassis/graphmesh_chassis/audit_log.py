"""The audit log of a server: one row for each act, written in the transaction of the act."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_chassis import metadata
from graphmesh_chassis.calls import Call, find_current_call
from graphmesh_chassis.database import UtcDateTime

OK = "OK"
"""The result of an act that was carried out."""
MAX_DETAIL = 255
"""Characters."""
_TEXTS = ("subject", "method", "result", "detail", "run", "thread", "node", "approval", "key")
_EMPTY: dict[str, Any] = {**dict.fromkeys(_TEXTS, ""), "epoch": None, "content": None, "calls": 1}

table = sa.Table(
    "audit_log",
    sa.MetaData(),
    sa.Column("entry_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Column("tenant", sa.String(63), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("method", sa.String(255), nullable=False),
    sa.Column("result", sa.String(255), nullable=False),
    sa.Column("detail", sa.String(255), nullable=False),
    sa.Column("run", sa.String(255), nullable=False),
    sa.Column("thread", sa.String(255), nullable=False),
    sa.Column("node", sa.String(255), nullable=False),
    sa.Column("epoch", sa.BigInteger),
    sa.Column("approval", sa.String(255), nullable=False),
    sa.Column("key", sa.String(255), nullable=False),
    sa.Column("content", sa.LargeBinary),
    sa.Column("calls", sa.Integer, nullable=False),
    sa.Column("number", sa.BigInteger),
    sa.Column("hash", sa.LargeBinary),
    implicit_returning=False,
)
"""`detail` states what was decided. `key` and `content` are those of an effect: its key, and the digest of its row in
`effects`. `calls` is more than 1 for equal refusals. `number` and `hash` are the place in the chain of `audit_chain`;
NULL until the row is sealed."""
_UNSEALED = sa.text("number IS NULL")
sa.Index("audit_log_unsealed", table.c.entry_id, sqlite_where=_UNSEALED, postgresql_where=_UNSEALED)
sa.Index("audit_log_by_number", table.c.number, unique=True)


async def record(
    connection: AsyncConnection,
    call: Call,
    result: str = OK,
    *,
    run: str = "",
    thread: str = "",
    approval: str = "",
    detail: str = "",
    content: bytes | None = None,
) -> None:
    """Write the row of an act of the caller of `call`, in the transaction of the act.

    The run, thread and approval are those of the call's headers where they are not stated.
    """
    row = new_row(
        datetime.now(UTC),
        tenant=call.caller.tenant,
        subject=call.caller.subject,
        method=call.path,
        result=result,
        detail=detail[:MAX_DETAIL],
        run=run or call.header(metadata.RUN),
        thread=thread or call.header(metadata.THREAD),
        node=call.header(metadata.NODE),
        epoch=call.epoch,
        approval=approval or call.header(metadata.APPROVAL),
        key=call.effect_key,
        content=content,
    )
    await connection.execute(sa.insert(table).values(row))
    call.is_audited = True


async def record_current(
    connection: AsyncConnection, *, run: str = "", thread: str = "", approval: str = "", detail: str = ""
) -> None:
    """As `record`, of the current call. What a server does by itself has no caller and no row."""
    if (call := find_current_call()) is not None:
        await record(connection, call, run=run, thread=thread, approval=approval, detail=detail)


def new_row(create_time: datetime, **columns: Any) -> dict[str, Any]:
    """Return a row; the texts that are not stated are empty."""
    return {"create_time": create_time, **_EMPTY, **columns}


def act_name(method: str) -> str:
    """The short name of a method, as of a tool: `billing.Charge`; empty for none."""
    service, _, rpc = method.removeprefix("/").partition("/")
    return ".".join([*service.split(".")[-3:-2], rpc])
