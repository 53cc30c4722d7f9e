"""`graphmesh assistants`: named configurations of graphs, with versions."""

import json
from collections.abc import Callable, Mapping
from typing import Annotated

import typer
from graphmesh.orchestrator.v1 import Assistant, CreateAssistantRequest
from graphmesh_client import Client
from graphmesh_client.assistants import Configuration
from graphmesh_contracts import struct_value
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands import short_ids
from graphmesh_cli.commands.connection import (
    DEFAULT_TENANT,
    Address,
    Connection,
    State,
    Tenant,
    Token,
    max_value,
)
from graphmesh_cli.commands.json_arguments import json_argument
from graphmesh_cli.commands.output import AsJson, console, print_json_line, show_list

MAX_RECURSION = max_value(CreateAssistantRequest, "recursion_limit")

Name = Annotated[
    str,
    typer.Argument(metavar="ASSISTANT", help="Its name, its id, or the beginning of a generated id."),
]
Called = Annotated[str | None, typer.Option("--name", help="The name, which no other assistant has.")]
Description = Annotated[str | None, typer.Option(help="What it is for.")]
Context = Annotated[str, typer.Option(help="The context of the graph's nodes, a JSON object or @FILE.")]
Configurable = Annotated[str, typer.Option(help="Keys for the nodes' config, a JSON object or @FILE.")]
Metadata = Annotated[str, typer.Option(help="JSON of your own to search by, an object or @FILE.")]
RecursionLimit = Annotated[
    int | None, typer.Option(min=0, max=MAX_RECURSION, help="The most supersteps of a run; 0: the default.")
]
Limit = Annotated[int, typer.Option(min=1, help="The most entries to list.")]

COLUMNS: Mapping[str, Callable[[Assistant], str]] = {
    "assistant": lambda one: one.assistant_id,
    "name": lambda one: one.name,
    "graph": lambda one: one.graph,
    "version": lambda one: str(one.version),
}
IDS = ("assistant",)

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
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Create an assistant."""
    content = _content(name, description, context, configurable, metadata, recursion_limit)
    made = Connection(address, state, tenant, token).run(
        lambda client: client.assistants.create(graph, assistant_id=id, **content)
    )
    _print_version(made, as_json)


@commands.command("list")
def list_assistants(
    graph: Annotated[str, typer.Option(help="Only assistants of this graph.")] = "",
    metadata: Annotated[str, typer.Option(help='Only those whose metadata has this: \'{"team": "a"}\'.')] = "",
    limit: Limit = 20,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List assistants, the newest first."""
    wanted = json_argument(metadata, "--metadata") or {}

    async def read(client: Client) -> list[Assistant]:
        return [one async for one in client.assistants.search(graph=graph, metadata=wanted, limit=limit)]

    show_list(
        Connection(address, state, tenant, token).run(read), COLUMNS, ids=IDS, empty="no assistants", as_json=as_json
    )


@commands.command()
def show(
    assistant: Name,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show the latest version of an assistant."""
    found = Connection(address, state, tenant, token).run(lambda client: _get(client, assistant))
    _print_version(found, as_json)
    if as_json:
        return
    if found.description:
        console().print(f"  {found.description}")
    content = {name: struct_value(getattr(found, name)) for name in ("context", "configurable", "metadata")}
    console().print_json(json.dumps({name: value for name, value in content.items() if value}))


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
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Make a new version. What no option states stays; metadata is merged, and null deletes a member."""
    content = _content(name, description, context, configurable, metadata, recursion_limit)

    async def make(client: Client) -> Assistant:
        found = await _get(client, assistant)
        return await client.assistants.update(found.assistant_id, graph=graph, **content)

    _print_version(Connection(address, state, tenant, token).run(make), as_json)


@commands.command()
def versions(
    assistant: Name,
    limit: Limit = 20,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List the versions of an assistant, the newest first."""

    async def read(client: Client) -> list[Assistant]:
        found = await _get(client, assistant)
        return await client.assistants.versions(found.assistant_id, limit)

    show_list(
        Connection(address, state, tenant, token).run(read), COLUMNS, ids=IDS, empty="no versions", as_json=as_json
    )


@commands.command("set-latest")
def set_latest(
    assistant: Name,
    version: Annotated[int, typer.Argument(min=1, help="The number of the version.")],
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Make a version the latest, which new runs have."""

    async def change(client: Client) -> Assistant:
        found = await _get(client, assistant)
        return await client.assistants.set_latest(found.assistant_id, version)

    _print_version(Connection(address, state, tenant, token).run(change), as_json)


@commands.command()
def delete(
    assistant: Name,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Delete an assistant with its versions. Runs keep what they got."""

    async def remove(client: Client) -> str:
        found = await _get(client, assistant)
        await client.assistants.delete(found.assistant_id)
        return found.assistant_id

    deleted = Connection(address, state, tenant, token).run(remove)
    if as_json:
        print_json_line({"deleted": {"assistant_id": deleted}})
    else:
        console().print(f"{deleted} is deleted", soft_wrap=True)


async def _get(client: Client, assistant: str) -> Assistant:
    return await client.assistants.get(await short_ids.assistant_id(client, assistant))


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


def _print_version(assistant: Assistant, as_json: bool) -> None:
    if as_json:
        return print_json_line(assistant)
    named = f" {assistant.name}" if assistant.name else ""
    line = f"{assistant.assistant_id}{named}, version {assistant.version}, of {assistant.graph}"
    return console().print(line, soft_wrap=True)
