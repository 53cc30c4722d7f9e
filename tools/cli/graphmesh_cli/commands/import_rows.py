"""`graphmesh import`: call an RPC once for each row of a file or of a query.

The idempotency key of a call is derived from the RPC and the row's content, so that a repeated import changes nothing.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
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
from graphmesh_contracts import Idempotency, Method, Rpc, method_policy
from graphmesh_local.state_folder import DEFAULT_STATE, StateFolder
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from graphmesh_cli.commands.connection import MeshTarget, State, check_tenant, mesh_target
from graphmesh_cli.commands.output import AsJson, console, print_json_line
from graphmesh_cli.commands.row_sources import Row, jsonl, sqlite
from graphmesh_cli.commands.rpc_catalogue import find_rpc, joined_rpcs, rpcs_of_file
from graphmesh_cli.failures import ExitCode, Failure

MAX_ATTEMPTS = 6
"""Attempts for one row while the service or the mesh fails."""
BACKOFF_SECONDS = 0.1
"""The backoff after the first attempt; it doubles with each."""
ERRORS_OF_ALL_ROWS = (InvalidMetadata, ScopeMissing, Unauthenticated, UnknownMethod)
"""Refusals that every other row would get too."""
KEY_PREFIX = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class NotImportable(Failure):
    """The RPC streams, or its contract does not declare it safe to repeat."""


class Stopped(Failure):
    """An import ended before its last row; the message names the row and the reason."""


@dataclass(frozen=True)
class Refusal:
    """The reason why a row was refused; one for each invalid field."""

    row: int
    field: str
    """Empty where the reason is not about one field."""
    rule: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.field}: {self.rule}" if self.field else f"row {self.row}: {self.rule}"


@dataclass
class Counts:
    """The results of the rows so far."""

    done: int = 0
    already_there: int = 0
    """Imported before: the service has the call's key, or a resource with that id."""
    refused: int = 0

    def __str__(self) -> str:
        return f"{self.done} done, {self.already_there} already there, {self.refused} refused"


OnRow = Callable[[Counts, Sequence[Refusal]], None]
"""Called after each row with all counts, and the reasons where this row was refused."""


async def import_rows(
    channel: Channel,
    rpc: Method[Any, Any],
    rows: Iterable[Row],
    *,
    tenant: str = "default",
    key_prefix: str = "import",
    concurrency: int = 8,
    on_row: OnRow = lambda counts, refusals: None,
) -> Counts:
    """Call `rpc` once for each of `rows`, at most `concurrency` at a time, in no defined order.

    Raises:
        NotImportable: the RPC streams, or its idempotency is unknown.
        Stopped: the service cannot be reached or used; the same import continues from there.
    """
    policy = method_policy(rpc.descriptor)
    if policy.idempotency is Idempotency.UNKNOWN or not isinstance(rpc, Rpc):
        rule = "streams, or is not safe to repeat: rows cannot be imported with it"
        raise NotImportable(f"{rpc.tool} {rule}", exit_code=ExitCode.USAGE)
    headers = (
        (metadata.TENANT, tenant),
        (metadata.SUBJECT, "import"),
        (metadata.SCOPES, " ".join(sorted(policy.scopes))),
    )
    importing = _Import(channel, rpc, headers, key_prefix, policy.timeout, on_row)
    await importing.run(iter(rows), concurrency)
    return importing.counts


@dataclass
class _Import:
    """A running import."""

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
                    group.create_task(self._import(rows))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _import(self, rows: Iterator[Row]) -> None:
        for row in rows:
            self.on_row(self.counts, await self._import_row(row))

    async def _import_row(self, row: Row) -> Sequence[Refusal]:
        """Call the RPC for one row and count the result. Returns the reasons where the row is refused."""
        try:
            _, repeated = await self._call_with_retries(request_of(row, self.rpc))
            self.counts.already_there += repeated
            self.counts.done += not repeated
        except AlreadyExists:
            self.counts.already_there += 1
        except (json_format.ParseError, ValueError) as error:
            return self._refused(row, [FieldViolation("", str(error).partition("\n")[0])])
        except ERRORS_OF_ALL_ROWS as error:
            raise Stopped(f"stopped at row {row.number}: {error}", exit_code=ExitCode.USAGE) from error
        except GraphmeshError as error:
            if _transient(error):
                raise Stopped(
                    f"stopped at row {row.number}: {error}. Run the same command again to continue from this row.",
                    exit_code=ExitCode.UNAVAILABLE,
                ) from error
            return self._refused(row, error.violations or [FieldViolation("", error.message)])
        return ()

    def _refused(self, row: Row, violations: Sequence[FieldViolation]) -> Sequence[Refusal]:
        self.counts.refused += 1
        return [Refusal(row.number, violation.field, violation.description) for violation in violations]

    async def _call_with_retries(self, request: Message) -> tuple[Message, bool]:
        """Call the RPC, with retries while the service or the mesh fails: the key makes each retry safe."""
        headers = (*self.headers, (metadata.IDEMPOTENCY_KEY, effect_key(self.key_prefix, self.rpc, request)))
        for attempt in range(MAX_ATTEMPTS - 1):
            try:
                return await self.channel.effect(
                    self.rpc, request, deadline=Deadline.after(self.timeout), headers=headers
                )
            except GraphmeshError as error:
                if not _transient(error):
                    raise
                await asyncio.sleep(max(BACKOFF_SECONDS * 2**attempt, error.retry_after or 0))
        return await self.channel.effect(self.rpc, request, deadline=Deadline.after(self.timeout), headers=headers)


def request_of(row: Row, rpc: Method[Any, Any]) -> Message:
    """Convert a row to a request. Raises ParseError or ValueError where it is not one."""
    if row.fault:
        raise ValueError(row.fault)
    if not isinstance(row.content, dict):
        raise ValueError("not a JSON object with the fields of the request")
    request: Message = json_format.ParseDict(row.content, rpc.request())
    return request


def effect_key(prefix: str, rpc: Method[Any, Any], request: Message) -> EffectKey:
    """Derive the key of a request: equal requests of the same RPC have the same key, however they are written."""
    content = rpc.path.encode() + b"\0" + request.SerializeToString(deterministic=True)
    return EffectKey(f"{prefix}-{hashlib.sha256(content).hexdigest()}")


def _transient(error: GraphmeshError) -> bool:
    return error.retryable or isinstance(error, DependencyError)


def import_rows_command(
    rpc: Annotated[str, typer.Argument(help="`crm.CreateCustomer`, or its full name.", metavar="RPC")],
    jsonl: Annotated[Path | None, typer.Option(help="A file with a request as JSON in each line.")] = None,
    sqlite: Annotated[Path | None, typer.Option(help="An SQLite database, for --query.")] = None,
    query: Annotated[str, typer.Option(help="A SELECT whose columns are fields: `lines:json`, `price.units`.")] = "",
    address: Annotated[str, typer.Option(help="host:port of a service or a mesh; by default the running mesh.")] = "",
    tenant: Annotated[str, typer.Option(help="The tenant of the data.")] = "default",
    contract: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The descriptor set of the RPC; by default those that the mesh has."),
    ] = None,
    key_prefix: Annotated[str, typer.Option(help="Prefix of the keys; a new one repeats the calls.")] = "import",
    concurrency: Annotated[int, typer.Option(help="Concurrent calls.", min=1, max=256)] = 8,
    as_json: AsJson = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Call an RPC once for each row of a file or of a query.

    A repeated import changes nothing: a call's key is derived from its content. Two equal rows are therefore one call.
    Exits with 1 when a row was refused, and names the row and the reason.
    """
    rows = _rows(jsonl, sqlite, query)
    check_tenant(tenant)
    if not KEY_PREFIX.fullmatch(key_prefix):
        rule = "must consist of letters, digits, _, . and -, at most 64"
        raise typer.BadParameter(rule, param_hint="--key-prefix")
    joined = rpcs_of_file(contract) if contract else joined_rpcs(StateFolder(state).contracts)
    method, target = find_rpc(rpc, joined), mesh_target(address, state)
    calls = partial(import_rows, rows=rows, rpc=method, tenant=tenant, key_prefix=key_prefix, concurrency=concurrency)
    counts = asyncio.run(_import_with_progress(target, method.tool, calls, as_json))
    if as_json:
        print_json_line({"counts": asdict(counts)})
    else:
        console().print(f"{rpc}: {counts}", soft_wrap=True)
    raise typer.Exit(ExitCode.FAILED if counts.refused else ExitCode.SUCCESS)


def _rows(jsonl_file: Path | None, sqlite_file: Path | None, query: str) -> Iterator[Row]:
    if (jsonl_file is None) == (sqlite_file is None) or (sqlite_file is None) != (not query):
        raise typer.BadParameter("give either --jsonl FILE, or --sqlite FILE and --query SQL")
    if jsonl_file is not None:
        return jsonl(jsonl_file)
    return sqlite(sqlite_file or Path(), query)


async def _import_with_progress(
    target: MeshTarget, tool: str, calls: Callable[..., Awaitable[Counts]], as_json: bool
) -> Counts:
    """Import with a progress line on standard error, and a line for each refusal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    lines, notes = console(), console(stderr=True)
    with Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal) as progress:
        task = progress.add_task(tool, total=None)

        def on_row(counts: Counts, refusals: Sequence[Refusal]) -> None:
            progress.update(task, description=f"{tool}: {counts}")
            for refusal in refusals:
                if as_json:
                    print_json_line({"refused": asdict(refusal)})
                else:
                    lines.print(str(refusal), style="red", soft_wrap=True)

        async with target.channel() as channel:
            return await calls(channel, on_row=on_row)
