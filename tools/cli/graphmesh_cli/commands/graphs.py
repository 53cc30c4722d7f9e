"""`graphmesh graphs`: list the graphs of a mesh, or show the input that one takes."""

from typing import Annotated

import typer
from graphmesh.orchestrator.v1 import Graph
from graphmesh_contracts import struct_value
from graphmesh_local.state_folder import DEFAULT_STATE
from rich.console import Console
from rich.text import Text

from graphmesh_cli.commands.connection import DEFAULT_TENANT, Address, Connection, State, Tenant, Token
from graphmesh_cli.commands.output import AsJson, console, print_json_line, print_values, show_list
from graphmesh_cli.failures import Failure


def graphs(
    name: Annotated[str, typer.Argument(help="Show this graph alone, with the schema of its input.")] = "",
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List the graphs, and the fields of the input that each takes; those in brackets may be omitted."""
    found = Connection(address, state, tenant, token).run(lambda client: client.list_graphs())
    if not name:
        columns = {"graph": lambda one: one.name, "input": _input_fields, "description": _summary}
        return show_list(found, columns, ids=["graph"], empty="no graphs", as_json=as_json)
    graph = next((one for one in found if one.name == name), None)
    if graph is None:
        raise Failure(f"there is no graph {name}; there are: {', '.join(one.name for one in found) or 'none'}")
    return print_json_line(graph) if as_json else _show(graph)


def _show(graph: Graph) -> None:
    target = console()
    target.print(Text.assemble((graph.name, "bold"), f"  {' '.join(graph.description.split())}"), soft_wrap=True)
    target.print("input", style="dim")
    print_values(target, struct_value(graph.input_schema))
    if graph.HasField("declaration"):
        _show_declaration(target, graph)
    for right in graph.roles:
        target.print(
            Text.assemble(("role ", "dim"), (right.role, "bold"), f"  {', '.join(right.tools)}"), soft_wrap=True
        )


def _show_declaration(target: Console, graph: Graph) -> None:
    """Show what a graph may do at most."""
    declared = graph.declaration
    limits = {field.name: value for field, value in declared.ceilings.ListFields()}
    for label, text in {
        "tools": ", ".join(declared.tools),
        "ceilings": ", ".join(f"{name} {value}" for name, value in limits.items()),
        "prompts": ", ".join(f"{name} {version}" for name, version in sorted(declared.prompts.items())),
        "policy": ", ".join(sorted(struct_value(declared.policy_schema).get("properties", {}))),
        "customer": declared.customer and f"input member {declared.customer}: all calls are bound to it",
    }.items():
        if text:
            target.print(Text.assemble((f"{label}  ", "dim"), text), soft_wrap=True)


def _summary(graph: Graph) -> str:
    return " ".join(graph.description.partition("\n\n")[0].split())


def _input_fields(graph: Graph) -> str:
    schema = struct_value(graph.input_schema)
    required = schema.get("required", [])
    return ", ".join(field if field in required else f"[{field}]" for field in sorted(schema.get("properties", {})))
