"""`graphmesh store`: read and change what graphs remember beyond their threads."""

import json
from typing import Annotated

import typer
from graphmesh.orchestrator.v1 import Item
from graphmesh_client import Client
from graphmesh_contracts import struct_value
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands.connection import (
    DEFAULT_TENANT,
    Address,
    Connection,
    State,
    Tenant,
    Token,
    parse_seconds,
)
from graphmesh_cli.commands.json_arguments import json_argument
from graphmesh_cli.commands.output import AsJson, console, print_json_line, print_values, show_list
from graphmesh_cli.commands.run_view import local_time

SEPARATOR = "."
"""No label has one."""

Namespace = Annotated[str, typer.Argument(help="The labels of the namespace, with periods between: users.ada.")]
Key = Annotated[str, typer.Argument(help="The key of the item.")]
Limit = Annotated[int, typer.Option(min=1, help="The most entries to list.")]

commands = typer.Typer(
    help="Read and change what graphs remember beyond their threads.", no_args_is_help=True, add_completion=False
)


@commands.command()
def put(
    namespace: Namespace,
    key: Key,
    value: Annotated[str, typer.Argument(help="The value, a JSON object.")],
    ttl: Annotated[
        float | None,
        typer.Option(
            parser=parse_seconds,
            metavar="TIME",
            help="The time after its last use by a graph after which it expires: 90s, 10m, 2h, 1d.",
        ),
    ] = None,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Store an item, in place of the one under the same namespace and key."""
    labels, parsed = _labels(namespace), json_argument(value, "VALUE") or {}
    Connection(address, state, tenant, token).run(
        lambda client: client.store.put(labels, key, parsed, time_to_live=ttl)
    )
    _print_change(namespace, key, "stored", as_json)


@commands.command()
def get(
    namespace: Namespace,
    key: Key,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show the value of an item."""
    item = Connection(address, state, tenant, token).run(lambda client: client.store.get(_labels(namespace), key))
    if as_json:
        return print_json_line(item)
    if item.HasField("time_to_live"):
        seconds = item.time_to_live.ToTimedelta()
        console().print(f"expires {seconds} after its last use by a graph", style="dim", soft_wrap=True)
    print_values(console(), struct_value(item.value))
    return None


@commands.command()
def delete(
    namespace: Namespace,
    key: Key,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Delete an item."""
    Connection(address, state, tenant, token).run(lambda client: client.store.delete(_labels(namespace), key))
    _print_change(namespace, key, "deleted", as_json)


@commands.command()
def search(
    namespace: Annotated[str, typer.Argument(help="Only items below this namespace: users.ada.")] = "",
    filter: Annotated[str, typer.Option(help='Only items with these members: \'{"score": {"$gte": 3}}\'.')] = "{}",
    limit: Limit = 20,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List the items below a namespace, the last stored first."""
    conditions = json_argument(filter, "--filter") or {}

    async def read(client: Client) -> list[Item]:
        return [item async for item in client.store.search(_labels(namespace), filter=conditions, limit=limit)]

    found = Connection(address, state, tenant, token).run(read)
    show_list(
        found,
        {
            "namespace": lambda item: SEPARATOR.join(item.namespace),
            "key": lambda item: item.key,
            "stored": lambda item: local_time(item.update_time),
            "value": lambda item: json.dumps(struct_value(item.value), ensure_ascii=False),
        },
        empty="no items",
        as_json=as_json,
    )


@commands.command()
def namespaces(
    prefix: Annotated[str, typer.Argument(help="Only namespaces that begin so; * is any label.")] = "",
    suffix: Annotated[str, typer.Option(help="Only namespaces that end so; * is any label.")] = "",
    depth: Annotated[int, typer.Option(min=0, max=32, help="Only so many labels of each; 0: all.")] = 0,
    limit: Limit = 100,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List the namespaces that have items."""
    found = Connection(address, state, tenant, token).run(
        lambda client: client.store.namespaces(
            prefix=_labels(prefix), suffix=_labels(suffix), max_depth=depth, limit=limit
        )
    )
    listed = [{"namespace": labels} for labels in found]
    columns = {"namespace": lambda one: SEPARATOR.join(one["namespace"])}
    show_list(listed, columns, empty="no namespaces", as_json=as_json)


def _labels(namespace: str) -> list[str]:
    return namespace.split(SEPARATOR) if namespace else []


def _print_change(namespace: str, key: str, change: str, as_json: bool) -> None:
    if as_json:
        print_json_line({change: {"namespace": _labels(namespace), "key": key}})
    else:
        console().print(f"{namespace} {key} is {change}", soft_wrap=True)
