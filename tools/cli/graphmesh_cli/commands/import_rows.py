"""`graphmesh import`: one call of an RPC for each row of a file or of a query.

The idempotency key of a call is made from the RPC and the row's content, so the same rows again change nothing.
"""

import asyncio
import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from google.protobuf.message import Message
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.errors import (
    AlreadyExists,
    DependencyError,
    FieldViolation,
    GraphmeshError,
    InvalidMetadata,
    ScopeMissing,
    Unauthenticated,
    UnknownMethod,
)
from graphmesh_chassis.identity import TENANT_RULE
from graphmesh_contracts import Idempotency, Rpc, method_policy
from graphmesh_local.state_folder import DEFAULT_STATE, NoMesh, StateFolder
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from graphmesh_cli.commands.row_sources import Row, jsonl, sqlite
from graphmesh_cli.commands.rpc_catalogue import UnknownRpc, find_rpc

ATTEMPTS = 6
"""Of one row, where the service or the mesh is to blame."""
BACKOFF_SECONDS = 0.1
"""The wait after the first attempt; it doubles with each."""
NOT_OF_A_ROW = (InvalidMetadata, ScopeMissing, Unauthenticated, UnknownMethod)
"""Refusals that every other row would meet with too."""
KEY_PREFIX = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class NotImportable(ValueError):
    """The RPC cannot be called once for each row, repeatably."""


class Stopped(Exception):
    """An import ended before its last row; the message says where and why."""


@dataclass(frozen=True)
class Refusal:
    """Why a row was refused; one for each field that is wrong."""

    row: int
    field: str
    """Empty where it is not about one field."""
    rule: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.field}: {self.rule}" if self.field else f"row {self.row}: {self.rule}"


@dataclass
class Counts:
    """What became of the rows so far."""

    done: int = 0
    already_there: int = 0
    """Imported before: the service knows the call's key, or has something of that id."""
    refused: int = 0

    def __str__(self) -> str:
        return f"{self.done} done, {self.already_there} already there, {self.refused} refused"


OnRow = Callable[[Counts, Sequence[Refusal]], None]
"""Told after each row: all counts, and why this row was refused."""


async def load(
    channel: Channel,
    rpc: Rpc[Any, Any],
    rows: Iterable[Row],
    *,
    tenant: str = "default",
    key_prefix: str = "import",
    concurrency: int = 8,
    on_row: OnRow = lambda counts, refusals: None,
) -> Counts:
    """Call `rpc` once for each of `rows`, at most `concurrency` at a time, in no certain order.

    Raises:
        NotImportable: the RPC streams, or what a repeat does is not known.
        Stopped: the service cannot be reached or used; the same import again goes on from there.
    """
    policy, method = method_policy(rpc.descriptor), rpc.descriptor
    if policy.idempotency is Idempotency.UNKNOWN or method.client_streaming or method.server_streaming:
        raise NotImportable(f"{rpc.tool} streams, or is not safe to repeat: it cannot be called for each row")
    headers = (
        (metadata.TENANT, tenant),
        (metadata.SUBJECT, "import"),
        (metadata.SCOPES, " ".join(sorted(policy.scopes))),
    )
    loading = _Loading(channel, rpc, headers, key_prefix, policy.timeout, on_row)
    await loading.run(iter(rows), concurrency)
    return loading.counts


@dataclass
class _Loading:
    """One import under way."""

    channel: Channel
    rpc: Rpc[Any, Any]
    headers: tuple[tuple[str, str], ...]
    key_prefix: str
    timeout: float
    on_row: OnRow

    def __post_init__(self) -> None:
        self.counts = Counts()

    async def run(self, rows: Iterator[Row], concurrency: int) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(self._work(rows))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _work(self, rows: Iterator[Row]) -> None:
        for row in rows:
            self.on_row(self.counts, await self._one(row))

    async def _one(self, row: Row) -> Sequence[Refusal]:
        """Call for one row and count it. Returns why it was refused."""
        try:
            _, repeated = await self._repeatedly(request_of(row, self.rpc))
            self.counts.already_there += repeated
            self.counts.done += not repeated
        except AlreadyExists:
            self.counts.already_there += 1
        except (json_format.ParseError, ValueError) as error:
            return self._refused(row, [FieldViolation("", str(error).partition("\n")[0])])
        except NOT_OF_A_ROW as error:
            raise Stopped(f"stopped at row {row.number}: {error}") from error
        except GraphmeshError as error:
            if _transient(error):
                raise Stopped(
                    f"stopped at row {row.number}: {error}. The same command again goes on: what is done stays done."
                ) from error
            return self._refused(row, error.violations or [FieldViolation("", error.message)])
        return ()

    def _refused(self, row: Row, violations: Sequence[FieldViolation]) -> Sequence[Refusal]:
        self.counts.refused += 1
        return [Refusal(row.number, violation.field, violation.description) for violation in violations]

    async def _repeatedly(self, request: Message) -> tuple[Message, bool]:
        """Call, and again where the service or the mesh is to blame: the key makes every repeat safe."""
        headers = (*self.headers, (metadata.IDEMPOTENCY_KEY, effect_key(self.key_prefix, self.rpc, request)))
        for attempt in range(ATTEMPTS - 1):
            try:
                return await self.channel.effect(
                    self.rpc, request, deadline=Deadline.after(self.timeout), headers=headers
                )
            except GraphmeshError as error:
                if not _transient(error):
                    raise
                await asyncio.sleep(max(BACKOFF_SECONDS * 2**attempt, error.retry_after or 0))
        return await self.channel.effect(self.rpc, request, deadline=Deadline.after(self.timeout), headers=headers)


def request_of(row: Row, rpc: Rpc[Any, Any]) -> Message:
    """The request that a row is. Raises ParseError or ValueError where it is none."""
    if row.fault:
        raise ValueError(row.fault)
    if not isinstance(row.content, dict):
        raise ValueError("not an object with the fields of the request")
    request: Message = json_format.ParseDict(row.content, rpc.request())
    return request


def effect_key(prefix: str, rpc: Rpc[Any, Any], request: Message) -> EffectKey:
    """The same for equal requests to the same RPC, whichever way they are written."""
    content = rpc.path.encode() + b"\0" + request.SerializeToString(deterministic=True)
    return EffectKey(f"{prefix}-{hashlib.sha256(content).hexdigest()}")


def _transient(error: GraphmeshError) -> bool:
    return error.retryable or isinstance(error, DependencyError)


def import_rows(
    rpc: Annotated[str, typer.Argument(help="`crm.CreateCustomer`, or its full name.", metavar="RPC")],
    jsonl: Annotated[Path | None, typer.Option(help="A file with the JSON of a request in each line.")] = None,
    sqlite: Annotated[Path | None, typer.Option(help="An SQLite database, for --query.")] = None,
    query: Annotated[str, typer.Option(help="A SELECT whose columns are fields: `lines:json`, `price.units`.")] = "",
    address: Annotated[str, typer.Option(help="host:port of a service or a mesh; by default the one running.")] = "",
    tenant: Annotated[str, typer.Option(help="Whose data it becomes.")] = "default",
    key_prefix: Annotated[str, typer.Option(help="Another one makes the same rows new calls.")] = "import",
    concurrency: Annotated[int, typer.Option(help="Calls at a time.", min=1, max=256)] = 8,
) -> None:
    """Call an RPC once for each row of a file or of a query.

    The same rows again change nothing: a call's key is made from its content. Two equal rows are therefore one call.
    Exits with 1 when a row was refused, and says which and why.
    """
    rows = _rows(jsonl, sqlite, query)
    _check(tenant=TENANT_RULE.fullmatch(tenant), key_prefix=KEY_PREFIX.fullmatch(key_prefix))
    console = Console(highlight=False, soft_wrap=True)
    try:
        place = address or StateFolder(DEFAULT_STATE).read().mesh
        counts = asyncio.run(_shown(console, place, find_rpc(rpc), rows, tenant, key_prefix, concurrency))
    except (UnknownRpc, NotImportable, NoMesh, Stopped, OSError, sqlite3.Error) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from None
    console.print(f"{rpc}: {counts}", markup=False)
    raise typer.Exit(1 if counts.refused else 0)


def _rows(jsonl_file: Path | None, sqlite_file: Path | None, query: str) -> Iterator[Row]:
    if (jsonl_file is None) == (sqlite_file is None) or (sqlite_file is None) != (not query):
        raise typer.BadParameter("give either --jsonl FILE, or --sqlite FILE and --query SQL")
    if jsonl_file is not None:
        return jsonl(jsonl_file)
    return sqlite(sqlite_file or Path(), query)


def _check(**forms: object) -> None:
    for name, matched in forms.items():
        if not matched:
            raise typer.BadParameter("has characters that it cannot have, or is too long", param_hint=name)


async def _shown(
    console: Console,
    address: str,
    rpc: Rpc[Any, Any],
    rows: Iterator[Row],
    tenant: str,
    key_prefix: str,
    concurrency: int,
) -> Counts:
    """Load with a line of progress, and a line for each refusal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(rpc.tool, total=None)

        def on_row(counts: Counts, refusals: Sequence[Refusal]) -> None:
            progress.update(task, description=f"{rpc.tool}: {counts}")
            for refusal in refusals:
                console.print(str(refusal), style="red", markup=False)

        async with Channel(address) as channel:
            return await load(
                channel, rpc, rows, tenant=tenant, key_prefix=key_prefix, concurrency=concurrency, on_row=on_row
            )
