"""`graphmesh policy`: show and set the rules of a tenant for refunds and for tickets."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from google.protobuf import json_format
from graphmesh.billing import v1 as billing
from graphmesh.ticketing import v1 as ticketing
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands.connection import DEFAULT_TENANT, State, Tenant
from graphmesh_cli.commands.output import AsJson, console, print_json_line
from graphmesh_cli.commands.service_calls import MeshAddress, ServiceCalls, call_services

Kind = Literal["refunds", "tickets"]
Policy = billing.RefundPolicy | ticketing.TicketPolicy
READ: dict[Kind, tuple[Any, Any]] = {
    "refunds": (billing.BillingService.GetRefundPolicy, billing.GetRefundPolicyRequest),
    "tickets": (ticketing.TicketingService.GetTicketPolicy, ticketing.GetTicketPolicyRequest),
}
SET: dict[Kind, tuple[Any, Any]] = {
    "refunds": (billing.BillingService.SetRefundPolicy, billing.SetRefundPolicyRequest),
    "tickets": (ticketing.TicketingService.SetTicketPolicy, ticketing.SetTicketPolicyRequest),
}
Name = Annotated[Kind, typer.Argument(help="The policy.")]

commands = typer.Typer(help="Show and set the rules of a tenant.", no_args_is_help=True, add_completion=False)


@commands.command()
def show(
    policy: Name,
    as_json: AsJson = False,
    address: MeshAddress = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show a policy as JSON, in the form that set reads."""
    rpc, request = READ[policy]

    async def read(call: ServiceCalls) -> Policy:
        found: Policy = (await call(rpc, request())).policy
        return found

    _print(call_services(read, "policy", address, state, tenant), as_json)


@commands.command("set")
def set_policy(
    policy: Name,
    file: Annotated[Path, typer.Argument(help="The policy as JSON.")],
    as_json: AsJson = False,
    address: MeshAddress = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Replace a policy by that of a file.

    Where the file has a version, as show prints it, the stored policy must still have it.
    """
    rpc, request_type = SET[policy]
    request = _request(file, request_type)

    async def replace(call: ServiceCalls) -> Policy:
        stored: Policy = (await call(rpc, request)).policy
        return stored

    stored = call_services(replace, "policy", address, state, tenant)
    if as_json:
        return print_json_line(stored)
    return console().print(f"the policy for {policy} has version {stored.version}")


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
