"""`graphmesh store`: read and change what graphs remember beyond their threads."""

import json
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from graphmesh.orchestrator.v1 import Item
from graphmesh_client import Client
from graphmesh_contracts import struct_value, to_struct
from graphmesh_local.state_folder import DEFAULT_STATE
from rich.table import Column, Table

from graphmesh_cli.commands.connection import (
    DEFAULT_TENANT,
    Address,
    Connection,
    State,
    Tenant,
    console,
    parse_seconds,
)
from graphmesh_cli.commands.run_view import local_time

SEPARATOR = "."
"""No label has one."""

Namespace = Annotated[str, typer.Argument(help="The labels of the namespace, with periods between: users.ada.")]
Key = Annotated[str, typer.Argument(help="The key of the item.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, with all fields.")]
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
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Store an item, in place of the one under the same namespace and key."""
    labels, parsed = _labels(namespace), _object(value, "VALUE")
    Connection(address, state, tenant).run(lambda client: client.store.put(labels, key, parsed, time_to_live=ttl))
    console().print(f"{namespace} {key} is stored", markup=False, soft_wrap=True)


@commands.command()
def get(
    namespace: Namespace,
    key: Key,
    as_json: AsJson = False,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show the value of an item."""
    item = Connection(address, state, tenant).run(lambda client: client.store.get(_labels(namespace), key))
    if as_json:
        return _print_line(item)
    if item.HasField("time_to_live"):
        seconds = item.time_to_live.ToTimedelta()
        console().print(f"expires {seconds} after its last use by a graph", style="dim", soft_wrap=True)
    console().print_json(json.dumps(struct_value(item.value)))
    return None


@commands.command()
def delete(
    namespace: Namespace,
    key: Key,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Delete an item."""
    Connection(address, state, tenant).run(lambda client: client.store.delete(_labels(namespace), key))
    console().print(f"{namespace} {key} is deleted", markup=False, soft_wrap=True)


@commands.command()
def search(
    namespace: Annotated[str, typer.Argument(help="Only items below this namespace: users.ada.")] = "",
    filter: Annotated[str, typer.Option(help='Only items with these members: \'{"score": {"$gte": 3}}\'.')] = "{}",
    limit: Limit = 20,
    as_json: AsJson = False,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List the items below a namespace, the last stored first."""
    conditions = _object(filter, "--filter")

    async def read(client: Client) -> list[Item]:
        return [item async for item in client.store.search(_labels(namespace), filter=conditions, limit=limit)]

    found = Connection(address, state, tenant).run(read)
    if as_json:
        for item in found:
            _print_line(item)
        return
    if not found:
        console().print("no items", style="dim")
        return
    table = Table("namespace", "key", "stored", Column("value", overflow="ellipsis", no_wrap=True), box=None)
    for item in found:
        value = json.dumps(struct_value(item.value), ensure_ascii=False)
        table.add_row(SEPARATOR.join(item.namespace), item.key, local_time(item.update_time), value)
    console().print(table, markup=False)


@commands.command()
def namespaces(
    prefix: Annotated[str, typer.Argument(help="Only namespaces that begin so; * is any label.")] = "",
    suffix: Annotated[str, typer.Option(help="Only namespaces that end so; * is any label.")] = "",
    depth: Annotated[int, typer.Option(min=0, max=32, help="Only so many labels of each; 0: all.")] = 0,
    limit: Limit = 100,
    as_json: AsJson = False,
    address: Address = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List the namespaces that have items."""
    found = Connection(address, state, tenant).run(
        lambda client: client.store.namespaces(
            prefix=_labels(prefix), suffix=_labels(suffix), max_depth=depth, limit=limit
        )
    )
    for labels in found:
        line = json.dumps({"namespace": labels}) if as_json else SEPARATOR.join(labels)
        console().print(line, markup=False, highlight=False, soft_wrap=True)
    if not found and not as_json:
        console().print("no namespaces", style="dim")


def _labels(namespace: str) -> list[str]:
    return namespace.split(SEPARATOR) if namespace else []


def _object(text: str, parameter: str) -> dict[str, Any]:
    """Raises typer.BadParameter: it is no JSON object."""
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            raise typer.BadParameter("must be a JSON object", param_hint=parameter)
        to_struct(value)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"is no JSON object: {error}", param_hint=parameter) from None
    return value


def _print_line(item: Item) -> None:
    line = json.dumps(json_format.MessageToDict(item, preserving_proto_field_name=True), ensure_ascii=False)
    console().print(line, markup=False, highlight=False, soft_wrap=True)
