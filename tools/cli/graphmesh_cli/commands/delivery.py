"""`graphmesh delivery`: list the webhook calls that announce the ends of runs, and retry one."""

from typing import Annotated

import typer
from graphmesh.orchestrator.v1 import Delivery, DeliveryStatus
from graphmesh_client import Client
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands import short_ids
from graphmesh_cli.commands.connection import DEFAULT_TENANT, Address, Connection, State, Tenant, Token
from graphmesh_cli.commands.output import AsJson, console, print_json_line, show_list
from graphmesh_cli.commands.run_view import local_time

commands = typer.Typer(
    help="List webhook calls, and retry one that failed.", no_args_is_help=True, add_completion=False
)


@commands.command("list")
def list_deliveries(
    run: Annotated[str, typer.Option(help="Only those of this run.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="The most entries to list.")] = 20,
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List the newest webhook calls."""

    async def find(client: Client) -> list[Delivery]:
        return await client.deliveries.find(run_id=await short_ids.run_id(client, run), limit=limit)

    show_list(
        Connection(address, state, tenant, token).run(find),
        {
            "delivery": lambda one: one.delivery_id,
            "run": lambda one: one.run_id,
            "created": lambda one: local_time(one.create_time),
            "status": _status,
            "attempts": lambda one: str(one.attempts),
            "last error": lambda one: one.last_error,
        },
        ids=["delivery", "run"],
        empty="no deliveries",
        as_json=as_json,
    )


@commands.command()
def retry(
    delivery_id: Annotated[str, typer.Argument(help="The delivery: its id, or the beginning of it.")],
    as_json: AsJson = False,
    address: Address = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Retry a delivery whose attempts have all failed."""

    async def send(client: Client) -> Delivery:
        return await client.deliveries.retry(await short_ids.delivery_id(client, delivery_id))

    retried = Connection(address, state, tenant, token).run(send)
    if as_json:
        print_json_line(retried)
    else:
        console().print(f"{retried.delivery_id} is {_status(retried)}", soft_wrap=True)


def _status(delivery: Delivery) -> str:
    return DeliveryStatus.Name(delivery.status).removeprefix("DELIVERY_STATUS_").lower()
