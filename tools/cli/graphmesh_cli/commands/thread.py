"""`graphmesh thread`: list, read, fork and delete threads."""

import json
from typing import Annotated

import typer
from graphmesh.orchestrator.v1 import Thread, ThreadState, ThreadStateView, ThreadStatus
from graphmesh_client import Client
from graphmesh_contracts import struct_value
from graphmesh_local.state_folder import DEFAULT_STATE
from rich.table import Column, Table

from graphmesh_cli.commands.connection import DEFAULT_TENANT, Address, Connection, State, Tenant, console
from graphmesh_cli.commands.run_view import local_time

BASIC = ThreadStateView.THREAD_STATE_VIEW_BASIC

ThreadId = Annotated[str, typer.Argument(help="The id of the thread.")]
Checkpoint = Annotated[str, typer.Option(help="A checkpoint of its history; the newest by default.")]

commands = typer.Typer(help="List, read, fork and delete threads.", no_args_is_help=True, add_completion=False)


@commands.command("list")
def list_threads(
    graph: Annotated[str, typer.Option(help="Only threads of this graph.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="The most entries to list.")] = 20,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List the newest threads."""
    found = Connection(address, state, tenant).run(lambda client: client.threads.find(graph=graph, limit=limit))
    table = Table(Column("thread", no_wrap=True, min_width=35), "graph", "last used", "status", box=None)
    for one in found:
        table.add_row(one.thread_id, one.graph, local_time(one.update_time), _status(one))
    console().print(table)


@commands.command()
def show(
    thread_id: ThreadId,
    checkpoint: Checkpoint = "",
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show a thread and its state, the newest or at a checkpoint."""

    async def read(client: Client) -> tuple[Thread, ThreadState]:
        return await client.threads.get(thread_id), await client.threads.state(thread_id, checkpoint)

    thread, found = Connection(address, state, tenant).run(read)
    console().print(f"{thread.thread_id} of {thread.graph or 'no graph yet'}, {_status(thread)}", soft_wrap=True)
    if thread.HasField("expire_time"):
        console().print(f"  deleted at {local_time(thread.expire_time)} unless it is used", style="dim")
    console().print(f"  {_position(found)}", style="dim", soft_wrap=True)
    console().print_json(json.dumps(struct_value(found.values)))


@commands.command()
def history(
    thread_id: ThreadId,
    limit: Annotated[int, typer.Option(min=1, help="The most entries to list.")] = 50,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List the checkpoints of a thread, the newest first."""

    async def read(client: Client) -> list[ThreadState]:
        return [one async for one in client.threads.history(thread_id, limit, view=BASIC)]

    table = Table(Column("checkpoint", no_wrap=True, min_width=36), "written", "step", "source", "next", box=None)
    for one in Connection(address, state, tenant).run(read):
        metadata = struct_value(one.metadata)
        step, source = str(metadata.get("step", "")), str(metadata.get("source", ""))
        table.add_row(one.checkpoint_id, local_time(one.create_time), step, source, ", ".join(one.next))
    console().print(table)


@commands.command()
def fork(
    thread_id: ThreadId,
    checkpoint: Checkpoint = "",
    into: Annotated[str, typer.Option(help="The id of the new thread; a new one by default.")] = "",
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Create a thread with the state of this one, the newest or at a checkpoint."""
    connection = Connection(address, state, tenant)
    forked = connection.run(lambda client: client.threads.fork(thread_id, checkpoint_id=checkpoint, new_thread_id=into))
    console().print(f"{forked.thread_id} of {forked.graph or 'no graph yet'}", soft_wrap=True)
    command = connection.command("run", forked.graph or "GRAPH", "--thread", forked.thread_id)
    console().print(f"  {command}", style="dim", soft_wrap=True)


@commands.command()
def delete(
    thread_id: ThreadId,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Delete a thread with its history, its runs and their events. Effects of tools are not undone."""
    Connection(address, state, tenant).run(lambda client: client.threads.delete(thread_id))
    console().print(f"{thread_id} is deleted", soft_wrap=True)


def _status(thread: Thread) -> str:
    return ThreadStatus.Name(thread.status).removeprefix("THREAD_STATUS_").lower()


def _position(state: ThreadState) -> str:
    if not state.checkpoint_id:
        return "no state yet"
    next_nodes = f"next: {', '.join(state.next)}" if state.next else "at its end"
    return f"checkpoint {state.checkpoint_id}, {next_nodes}"
