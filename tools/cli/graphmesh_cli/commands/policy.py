"""`graphmesh policy`: show, set and reset the rules of a tenant for refunds, for tickets and for each agent."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from graphmesh.billing import v1 as billing
from graphmesh.ticketing import v1 as ticketing
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands.agent_policies import change_agent_policy, show_agent_policy
from graphmesh_cli.commands.connection import DEFAULT_TENANT, Connection, State, Tenant, Token
from graphmesh_cli.commands.json_arguments import json_argument
from graphmesh_cli.commands.output import AsJson, console, print_json_line
from graphmesh_cli.commands.service_calls import MeshAddress, ServiceCalls, call_services

Policy = billing.RefundPolicy | ticketing.TicketPolicy
READ: dict[str, tuple[Any, Any]] = {
    "refunds": (billing.BillingService.GetRefundPolicy, billing.GetRefundPolicyRequest),
    "tickets": (ticketing.TicketingService.GetTicketPolicy, ticketing.GetTicketPolicyRequest),
}
SET: dict[str, tuple[Any, Any]] = {
    "refunds": (billing.BillingService.SetRefundPolicy, billing.SetRefundPolicyRequest),
    "tickets": (ticketing.TicketingService.SetTicketPolicy, ticketing.SetTicketPolicyRequest),
}
Name = Annotated[str, typer.Argument(help="refunds, tickets, or an agent with a policy: see graphmesh graphs.")]
Edge = Annotated[str, typer.Option(help="The edge, for policies of agents; by default the running mesh's.")]

commands = typer.Typer(help="Show, set and reset the rules of a tenant.", no_args_is_help=True, add_completion=False)


@commands.command()
def show(
    policy: Name,
    as_json: AsJson = False,
    address: MeshAddress = "",
    edge: Edge = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show a policy as JSON, in the form that set reads; of an agent what replaces its default."""
    if policy not in READ:
        return show_agent_policy(policy, Connection(edge, state, tenant, token), as_json)
    rpc, request = READ[policy]

    async def read(call: ServiceCalls) -> Policy:
        found: Policy = (await call(rpc, request())).policy
        return found

    return _print(call_services(read, "policy", address, state, tenant), as_json)


@commands.command("set")
def set_policy(
    policy: Name,
    file: Annotated[Path, typer.Argument(help="The policy as JSON.")],
    as_json: AsJson = False,
    address: MeshAddress = "",
    edge: Edge = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Replace a policy by that of a file.

    Where the file of a service's policy has a version, as show prints it, the stored policy must still have it. Of an
    agent, the file has the members that replace those of its default, and what changes is shown. A field that breaks a
    rule is named, and nothing is changed.
    """
    if policy not in SET:
        members = json_argument(f"@{file}", "FILE") or {}
        return change_agent_policy(policy, members, Connection(edge, state, tenant, token), as_json)
    rpc, request_type = SET[policy]
    request = _request(file, request_type)

    async def replace(call: ServiceCalls) -> Policy:
        stored: Policy = (await call(rpc, request)).policy
        return stored

    stored = call_services(replace, "policy", address, state, tenant)
    if as_json:
        return print_json_line(stored)
    return console().print(f"the policy for {policy} has version {stored.version}")


@commands.command()
def reset(
    policy: Annotated[str, typer.Argument(help="An agent with a policy.")],
    as_json: AsJson = False,
    edge: Edge = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Give an agent its default policy again, and show what changes."""
    if policy in SET:
        raise typer.BadParameter(f"{policy} has no default to return to: set it", param_hint="POLICY")
    change_agent_policy(policy, {}, Connection(edge, state, tenant, token), as_json)


def _request(file: Path, request_type: Any) -> Any:
    """Read a policy, or a request to set one. Raises typer.BadParameter."""
    request = request_type()
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("must be a JSON object")
        json_format.ParseDict(content, request if "policy" in content else request.policy)
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror or error}", param_hint="FILE") from None
    except (ValueError, RecursionError, json_format.ParseError) as error:
        raise typer.BadParameter(f"{file} is no policy: {error}", param_hint="FILE") from None
    if version := request.policy.version:
        request.expected_version = version
        request.policy.ClearField("version")
    return request


def _print(policy: Policy, as_json: bool) -> None:
    if as_json:
        return print_json_line(policy)
    return console().print_json(json.dumps(_set_fields(policy)))


def _set_fields(policy: Policy) -> Any:
    """Return the JSON form without fields that are not set."""
    return json_format.MessageToDict(policy, preserving_proto_field_name=True)
