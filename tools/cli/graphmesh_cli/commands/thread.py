"""`graphmesh thread`: what runs have left in a thread, and what may be done with it."""

import json
from typing import Annotated

import typer
from graphmesh.orchestrator.v1 import Thread, ThreadState, ThreadStatus
from graphmesh_client import Client
from graphmesh_contracts import struct_value
from graphmesh_local.state_folder import DEFAULT_STATE
from rich.table import Column, Table

from graphmesh_cli.commands.connection import DEFAULT_TENANT, Address, Edge, State, Tenant, console
from graphmesh_cli.commands.run_view import local_time

ThreadId = Annotated[str, typer.Argument(help="The id of the thread.")]
Checkpoint = Annotated[str, typer.Option(help="A checkpoint of its history; the newest by default.")]

commands = typer.Typer(help="Threads: list, read, fork and delete them.", no_args_is_help=True, add_completion=False)


@commands.command("list")
def list_threads(
    graph: Annotated[str, typer.Option(help="Only threads of this graph.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many at the most.")] = 20,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List the newest threads."""
    found = Edge(address, state, tenant).do(lambda client: client.threads.find(graph=graph, limit=limit))
    table = Table(Column("thread", no_wrap=True, min_width=35), "graph", "last used", "status", box=None)
    for one in found:
        table.add_row(one.thread_id, one.graph, local_time(one.update_time), _status(one))
    console.print(table)


@commands.command()
def show(
    thread_id: ThreadId,
    checkpoint: Checkpoint = "",
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show a thread and its state, as it is or was at a checkpoint."""

    async def read(client: Client) -> tuple[Thread, ThreadState]:
        return await client.threads.get(thread_id), await client.threads.state(thread_id, checkpoint)

    thread, found = Edge(address, state, tenant).do(read)
    console.print(f"{thread.thread_id} of {thread.graph or 'no graph yet'}, {_status(thread)}", soft_wrap=True)
    if thread.HasField("expire_time"):
        console.print(f"  deleted at {local_time(thread.expire_time)} if it is not used", style="dim")
    console.print(f"  {_where(found)}", style="dim", soft_wrap=True)
    console.print_json(json.dumps(struct_value(found.values)))


@commands.command()
def history(
    thread_id: ThreadId,
    limit: Annotated[int, typer.Option(min=1, help="How many at the most.")] = 50,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List the checkpoints of a thread, the newest first."""

    async def read(client: Client) -> list[ThreadState]:
        return [one async for one in client.threads.history(thread_id, limit)]

    table = Table(Column("checkpoint", no_wrap=True, min_width=36), "written", "step", "source", "next", box=None)
    for one in Edge(address, state, tenant).do(read):
        about = struct_value(one.metadata)
        step, source = str(about.get("step", "")), str(about.get("source", ""))
        table.add_row(one.checkpoint_id, local_time(one.create_time), step, source, ", ".join(one.next))
    console.print(table)


@commands.command()
def fork(
    thread_id: ThreadId,
    checkpoint: Checkpoint = "",
    into: Annotated[str, typer.Option(help="The id of the new thread; a new one by default.")] = "",
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Make a new thread that begins where this one is, or was at a checkpoint."""
    edge = Edge(address, state, tenant)
    made = edge.do(lambda client: client.threads.fork(thread_id, checkpoint_id=checkpoint, new_thread_id=into))
    console.print(f"{made.thread_id} of {made.graph or 'no graph yet'}", soft_wrap=True)
    go_on = edge.command("run", made.graph or "GRAPH", "--thread", made.thread_id)
    console.print(f"  {go_on}", style="dim", soft_wrap=True)


@commands.command()
def delete(
    thread_id: ThreadId,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Delete a thread with its history, its runs and their events. What tools have done stays done."""
    Edge(address, state, tenant).do(lambda client: client.threads.delete(thread_id))
    console.print(f"{thread_id} is deleted", soft_wrap=True)


def _status(thread: Thread) -> str:
    return ThreadStatus.Name(thread.status).removeprefix("THREAD_STATUS_").lower()


def _where(state: ThreadState) -> str:
    if not state.checkpoint_id:
        return "no state yet"
    comes_next = f"next: {', '.join(state.next)}" if state.next else "at its end"
    return f"checkpoint {state.checkpoint_id}, {comes_next}"
