"""`graphmesh assistants`: named configurations of graphs, with versions."""

import json
from collections.abc import Sequence
from typing import Annotated

import typer
from graphmesh.orchestrator.v1 import Assistant, CreateAssistantRequest
from graphmesh_client import Client
from graphmesh_client.assistants import Configuration
from graphmesh_contracts import struct_value
from graphmesh_local.state_folder import DEFAULT_STATE
from rich.table import Column, Table

from graphmesh_cli.commands.connection import (
    DEFAULT_TENANT,
    Address,
    Connection,
    State,
    Tenant,
    console,
    max_value,
)
from graphmesh_cli.commands.json_arguments import AsJson, json_argument, print_message

MAX_RECURSION = max_value(CreateAssistantRequest, "recursion_limit")

Name = Annotated[str, typer.Argument(metavar="ASSISTANT", help="The id or the name of the assistant.")]
Called = Annotated[str | None, typer.Option("--name", help="The name, which no other assistant has.")]
Description = Annotated[str | None, typer.Option(help="What it is for.")]
Context = Annotated[str, typer.Option(help="The context of the graph's nodes, a JSON object or @FILE.")]
Configurable = Annotated[str, typer.Option(help="Keys for the nodes' config, a JSON object or @FILE.")]
Metadata = Annotated[str, typer.Option(help="JSON of your own to search by, an object or @FILE.")]
RecursionLimit = Annotated[
    int | None, typer.Option(min=0, max=MAX_RECURSION, help="The most supersteps of a run; 0: the default.")
]
Limit = Annotated[int, typer.Option(min=1, help="The most entries to list.")]

commands = typer.Typer(help="Manage named configurations of graphs.", no_args_is_help=True, add_completion=False)


@commands.command()
def create(
    graph: Annotated[str, typer.Argument(help="The graph, by its name in langgraph.json.")],
    name: Called = None,
    description: Description = None,
    context: Context = "",
    configurable: Configurable = "",
    metadata: Metadata = "",
    recursion_limit: RecursionLimit = None,
    id: Annotated[str, typer.Option(help="The id; a new one by default.")] = "",
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Create an assistant."""
    content = _content(name, description, context, configurable, metadata, recursion_limit)
    made = Connection(address, state, tenant).run(
        lambda client: client.assistants.create(graph, assistant_id=id, **content)
    )
    _print_version(made)


@commands.command("list")
def list_assistants(
    graph: Annotated[str, typer.Option(help="Only assistants of this graph.")] = "",
    metadata: Annotated[str, typer.Option(help='Only those whose metadata has this: \'{"team": "a"}\'.')] = "",
    limit: Limit = 20,
    as_json: AsJson = False,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List assistants, the newest first."""
    wanted = json_argument(metadata, "--metadata") or {}

    async def read(client: Client) -> list[Assistant]:
        return [one async for one in client.assistants.search(graph=graph, metadata=wanted, limit=limit)]

    _print_table(Connection(address, state, tenant).run(read), as_json=as_json)


@commands.command()
def show(
    assistant: Name,
    as_json: AsJson = False,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show the latest version of an assistant."""
    found = Connection(address, state, tenant).run(lambda client: client.assistants.get(assistant))
    if as_json:
        return print_message(found)
    _print_version(found)
    if found.description:
        console().print(f"  {found.description}", markup=False, highlight=False)
    content = {name: struct_value(getattr(found, name)) for name in ("context", "configurable", "metadata")}
    console().print_json(json.dumps({name: value for name, value in content.items() if value}))
    return None


@commands.command()
def update(
    assistant: Name,
    graph: Annotated[str | None, typer.Option(help="Another graph.")] = None,
    name: Called = None,
    description: Description = None,
    context: Context = "",
    configurable: Configurable = "",
    metadata: Metadata = "",
    recursion_limit: RecursionLimit = None,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Make a new version. What no option states stays; metadata is merged, and null deletes a member."""
    content = _content(name, description, context, configurable, metadata, recursion_limit)

    async def make(client: Client) -> Assistant:
        found = await client.assistants.get(assistant)
        return await client.assistants.update(found.assistant_id, graph=graph, **content)

    _print_version(Connection(address, state, tenant).run(make))


@commands.command()
def versions(
    assistant: Name,
    limit: Limit = 20,
    as_json: AsJson = False,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List the versions of an assistant, the newest first."""

    async def read(client: Client) -> list[Assistant]:
        found = await client.assistants.get(assistant)
        return await client.assistants.versions(found.assistant_id, limit)

    _print_table(Connection(address, state, tenant).run(read), as_json=as_json)


@commands.command("set-latest")
def set_latest(
    assistant: Name,
    version: Annotated[int, typer.Argument(min=1, help="The number of the version.")],
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Make a version the latest, which new runs have."""

    async def change(client: Client) -> Assistant:
        found = await client.assistants.get(assistant)
        return await client.assistants.set_latest(found.assistant_id, version)

    _print_version(Connection(address, state, tenant).run(change))


@commands.command()
def delete(
    assistant: Name,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Delete an assistant with its versions. Runs keep what they got."""

    async def remove(client: Client) -> str:
        found = await client.assistants.get(assistant)
        await client.assistants.delete(found.assistant_id)
        return found.assistant_id

    deleted = Connection(address, state, tenant).run(remove)
    console().print(f"{deleted} is deleted", markup=False, highlight=False, soft_wrap=True)


def _content(
    name: str | None,
    description: str | None,
    context: str,
    configurable: str,
    metadata: str,
    recursion_limit: int | None,
) -> Configuration:
    """Return what the options state. Raises typer.BadParameter."""
    content = Configuration()
    if name is not None:
        content["name"] = name
    if description is not None:
        content["description"] = description
    if recursion_limit is not None:
        content["recursion_limit"] = recursion_limit
    if (given := json_argument(context, "--context")) is not None:
        content["context"] = given
    if (given := json_argument(configurable, "--configurable")) is not None:
        content["configurable"] = given
    if (given := json_argument(metadata, "--metadata")) is not None:
        content["metadata"] = given
    return content


def _print_version(assistant: Assistant) -> None:
    named = f" {assistant.name}" if assistant.name else ""
    line = f"{assistant.assistant_id}{named}, version {assistant.version}, of {assistant.graph}"
    console().print(line, markup=False, highlight=False, soft_wrap=True)


def _print_table(found: Sequence[Assistant], *, as_json: bool) -> None:
    if as_json:
        for one in found:
            print_message(one)
        return
    if not found:
        console().print("no assistants", style="dim")
        return
    table = Table(Column("assistant", no_wrap=True, min_width=37), "name", "graph", "version", box=None)
    for one in found:
        table.add_row(one.assistant_id, one.name, one.graph, str(one.version))
    console().print(table, markup=False)
