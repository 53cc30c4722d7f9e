"""`graphmesh thread`: list, read, fork and delete threads."""

from typing import Annotated

import typer
from graphmesh.orchestrator.v1 import Thread, ThreadState, ThreadStateView, ThreadStatus
from graphmesh_client import Client
from graphmesh_contracts import struct_value
from graphmesh_local.state_folder import DEFAULT_STATE
from rich.console import Console

from graphmesh_cli.commands import short_ids
from graphmesh_cli.commands.connection import DEFAULT_TENANT, Address, Connection, State, Tenant, Token
from graphmesh_cli.commands.output import AsJson, console, fields_of, print_json_line, print_values, show_list
from graphmesh_cli.commands.run_view import local_time

BASIC = ThreadStateView.THREAD_STATE_VIEW_BASIC

ThreadId = Annotated[str, typer.Argument(help="The thread: its id, or the beginning of a generated one.")]
Checkpoint = Annotated[
    str, typer.Option(help="A checkpoint of its history, also by the beginning of its id; the newest by default.")
]

commands = typer.Typer(help="List, read, fork and delete threads.", no_args_is_help=True, add_completion=False)


@commands.command("list")
def list_threads(
    graph: Annotated[str, typer.Option(help="Only threads of this graph.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="The most entries to list.")] = 20,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List the newest threads."""
    show_list(
        Connection(address, state, tenant, token).run(lambda client: client.threads.find(graph=graph, limit=limit)),
        {
            "thread": lambda one: one.thread_id,
            "graph": lambda one: one.graph,
            "last used": lambda one: local_time(one.update_time),
            "status": _status,
        },
        ids=["thread"],
        empty="no threads",
        as_json=as_json,
    )


@commands.command()
def show(
    thread_id: ThreadId,
    checkpoint: Checkpoint = "",
    namespace: Annotated[
        str, typer.Option(help="The subgraph whose state to show, as --subgraphs shows it: NODE:TASK|NODE:TASK.")
    ] = "",
    subgraphs: Annotated[
        bool, typer.Option("--subgraphs", help="Show the states of unfinished subgraphs too.")
    ] = False,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show a thread and its state, the newest or at a checkpoint."""
    levels = namespace.split("|") if namespace else []

    async def read(client: Client) -> tuple[Thread, ThreadState]:
        whole_id = await short_ids.thread_id(client, thread_id)
        checkpoint_id = await short_ids.checkpoint_id(client, whole_id, checkpoint)
        found = await client.threads.get(whole_id)
        state = await client.threads.state(whole_id, checkpoint_id, namespace=levels, subgraphs=subgraphs)
        return found, state

    thread, found = Connection(address, state, tenant, token).run(read)
    if as_json:
        return print_json_line({"thread": fields_of(thread), "state": fields_of(found)})
    target = console()
    target.print(f"{thread.thread_id} of {thread.graph or 'no graph yet'}, {_status(thread)}", soft_wrap=True)
    if thread.HasField("expire_time"):
        target.print(f"  deleted at {local_time(thread.expire_time)} unless it is used", style="dim", soft_wrap=True)
    target.print(f"  {_position(found)}", style="dim", soft_wrap=True)
    print_values(target, struct_value(found.values))
    return _show_subgraphs(target, found)


def _show_subgraphs(target: Console, state: ThreadState) -> None:
    for task in state.tasks:
        if task.HasField("state"):
            target.print("|".join(task.namespace), style="bold", markup=False, soft_wrap=True)
            target.print(f"  {_position(task.state)}", style="dim", soft_wrap=True)
            print_values(target, struct_value(task.state.values))
            _show_subgraphs(target, task.state)


@commands.command()
def history(
    thread_id: ThreadId,
    limit: Annotated[int, typer.Option(min=1, help="The most entries to list.")] = 50,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List the checkpoints of a thread, the newest first."""

    async def read(client: Client) -> list[ThreadState]:
        whole_id = await short_ids.thread_id(client, thread_id)
        return [one async for one in client.threads.history(whole_id, limit, view=BASIC)]

    show_list(
        Connection(address, state, tenant, token).run(read),
        {
            "checkpoint": lambda one: one.checkpoint_id,
            "written": lambda one: local_time(one.create_time),
            "step": lambda one: str(struct_value(one.metadata).get("step", "")),
            "source": lambda one: str(struct_value(one.metadata).get("source", "")),
            "next": lambda one: ", ".join(one.next),
        },
        ids=["checkpoint"],
        empty="no checkpoints",
        as_json=as_json,
    )


@commands.command()
def fork(
    thread_id: ThreadId,
    checkpoint: Checkpoint = "",
    into: Annotated[str, typer.Option(help="The id of the new thread; a new one by default.")] = "",
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Create a thread with the state of this one, the newest or at a checkpoint."""
    connection = Connection(address, state, tenant, token)

    async def copy(client: Client) -> Thread:
        whole_id = await short_ids.thread_id(client, thread_id)
        checkpoint_id = await short_ids.checkpoint_id(client, whole_id, checkpoint)
        return await client.threads.fork(whole_id, checkpoint_id=checkpoint_id, new_thread_id=into)

    forked = connection.run(copy)
    if as_json:
        return print_json_line(forked)
    console().print(f"{forked.thread_id} of {forked.graph or 'no graph yet'}", soft_wrap=True)
    command = connection.command("run", forked.graph or "GRAPH", "--thread", forked.thread_id)
    return console().print(f"  {command}", style="dim", soft_wrap=True)


@commands.command()
def delete(
    thread_id: ThreadId,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Delete a thread with its history, its runs and their events. Effects of tools are not undone."""

    async def delete_whole(client: Client) -> str:
        whole_id = await short_ids.thread_id(client, thread_id)
        await client.threads.delete(whole_id)
        return whole_id

    deleted = Connection(address, state, tenant, token).run(delete_whole)
    if as_json:
        print_json_line({"deleted": {"thread_id": deleted}})
    else:
        console().print(f"{deleted} is deleted", soft_wrap=True)


def _status(thread: Thread) -> str:
    return ThreadStatus.Name(thread.status).removeprefix("THREAD_STATUS_").lower()


def _position(state: ThreadState) -> str:
    if not state.checkpoint_id:
        return "no state yet"
    next_nodes = f"next: {', '.join(state.next)}" if state.next else "at its end"
    return f"checkpoint {state.checkpoint_id}, {next_nodes}"
