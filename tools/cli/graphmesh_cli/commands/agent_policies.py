"""The tenant's policies of agents: items of its store, over the defaults beside the graphs."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from graphmesh_chassis.errors import NotFound
from graphmesh_client import Client
from graphmesh_contracts import struct_value

from graphmesh_cli.commands.connection import Connection
from graphmesh_cli.commands.output import console, print_json_line
from graphmesh_cli.failures import ExitCode, Failure

NAMESPACE, KEY = "policies", "policy"
"""A tenant's policy of a graph is the item `policy` of the namespace `policies`, `<graph>` of its store."""
DEFAULT = "the agent's default"
Members = Mapping[str, Any]


def show_agent_policy(agent: str, edge: Connection, as_json: bool) -> None:
    """Show the members that the tenant has set, as `set` reads them."""
    members = edge.run(lambda client: _read(client, agent))
    if as_json:
        return print_json_line(members)
    if not members:
        return console().print(f"{agent} has the default policy", style="dim", soft_wrap=True)
    return console().print_json(json.dumps(members))


def change_agent_policy(agent: str, members: Members, edge: Connection, as_json: bool) -> None:
    """Replace the members that the tenant has set; none: the agent has its default policy again. Show what changes.

    Raises Failure where a member breaks a rule of the agent, which is named; then nothing is changed.
    """

    async def change(client: Client) -> Members:
        before = await _read(client, agent)
        if members:
            await client.store.put((NAMESPACE, agent), KEY, members, time_to_live=0)
        elif before:
            await client.store.delete((NAMESPACE, agent), KEY)
        return before

    before = edge.run(change)
    if as_json:
        return print_json_line({"policy": agent, "before": before, "after": members})
    lines = [f"{path}: {old} → {new}" for path, old, new in differences(before, members)]
    return console().print("\n".join(lines) or "nothing changes", soft_wrap=True)


def differences(before: Members, after: Members) -> Iterator[tuple[str, str, str]]:
    """Yield what differs: the path of each value, and the value before and after as JSON."""
    old, new = (dict(_leaves(members)) for members in (before, after))
    for path in sorted(old.keys() | new.keys()):
        if old.get(path, DEFAULT) != new.get(path, DEFAULT):
            yield path, old.get(path, DEFAULT), new.get(path, DEFAULT)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and (value or not path):
        for name, member in value.items():
            yield from _leaves(member, f"{path}.{name}" if path else name)
    else:
        yield path, json.dumps(value, ensure_ascii=False)


async def _read(client: Client, agent: str) -> Members:
    """Return the members that the tenant has set. Raises Failure where no agent of that name has a policy."""
    graphs = [graph for graph in await client.list_graphs() if graph.declaration.HasField("policy_schema")]
    if agent not in {graph.name for graph in graphs}:
        known = ", ".join(["refunds", "tickets", *(graph.name for graph in graphs)])
        raise Failure(f"there is no policy {agent}; there are: {known}", exit_code=ExitCode.USAGE)
    try:
        found: Members = struct_value((await client.store.get((NAMESPACE, agent), KEY)).value)
    except NotFound:
        return {}
    return found
