"""The edge of a mesh as commands reach it."""

import asyncio
import re
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from buf.validate import validate_pb2
from google.protobuf.message import Message
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_chassis.identity import TENANT_RULE
from graphmesh_client import Client
from graphmesh_local.state_folder import DEFAULT_STATE, NoMesh, StateFolder
from rich.console import Console

ResultT = TypeVar("ResultT")
Address = Annotated[str, typer.Option(help="host:port of the edge; that of the mesh that is up, by default.")]
State = Annotated[Path, typer.Option(help="The state folder of the mesh that is up.")]
Tenant = Annotated[str, typer.Option(help="For whom.")]
DEFAULT_TENANT = "default"

ADDRESS = re.compile(r"[^/\s]+:\d{1,5}")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST = 100 * 365 * UNITS["d"]
NOT_THERE = "is the mesh up? graphmesh up starts one, --address names another"
WAYS_OUT = {
    "THREAD_BUSY": "[watch {run}]; or begin with --multitask enqueue, interrupt or rollback; or end it: [cancel {run}]",
    "WRONG_GRAPH": "leave out --thread, or run {graph}",
    "RUN_NOT_INTERRUPTED": "[watch {run}] shows where it stands",
    "APPROVAL_REQUIRED": "[approve {approval}]",
    "APPROVAL_ANSWERED": "an approval is answered once",
    "QUEUE_FULL": "wait until some have begun, or cancel some: [runs]",
    "SCOPE_MISSING": "somebody with these scopes has to do it",
    "UNREACHABLE": NOT_THERE,
    "CIRCUIT_OPEN": NOT_THERE,
    "CONNECTION_LOST": "it may have happened: look before you do it again",
}
"""What to do, by the reason of an error and filled in with its data. Commands are in brackets."""

console = Console()


@dataclass(frozen=True)
class Edge:
    """Where a command goes, and for whom."""

    address: str
    state: Path
    tenant: str

    def __post_init__(self) -> None:
        if self.address and not ADDRESS.fullmatch(self.address):
            raise typer.BadParameter("has to be host:port, such as 127.0.0.1:8080", param_hint="--address")
        if not TENANT_RULE.fullmatch(self.tenant):
            rule = "has to be of lower-case letters, digits, - and _, 63 at the most"
            raise typer.BadParameter(rule, param_hint="--tenant")

    def do(self, use: Callable[[Client], Awaitable[ResultT]]) -> ResultT:
        """What `use` makes of a client. An error of the mesh is said, with what to do, and ends the command."""
        try:
            return asyncio.run(self._connected(use))
        except GraphmeshError as error:
            console.print(f"{error.reason}: {error}", style="red", markup=False, soft_wrap=True)
            if way_out := self._way_out(error):
                console.print(f"  {way_out}", style="dim", markup=False, soft_wrap=True)
            raise typer.Exit(1) from None

    def command(self, *words: str) -> str:
        """A command line of this command for the same mesh and tenant."""
        further = {"--address": self.address, "--tenant": self.tenant if self.tenant != DEFAULT_TENANT else ""}
        further["--state"] = str(self.state) if self.state != DEFAULT_STATE and not self.address else ""
        options = [part for name, value in further.items() if value for part in (name, value)]
        return f"graphmesh {shlex.join([*words, *options])}"

    def _way_out(self, error: GraphmeshError) -> str:
        try:
            said = WAYS_OUT.get(error.reason, "").format_map(error.data)
        except KeyError:
            return ""
        return re.sub(r"\[(.+?)\]", lambda words: self.command(*words[1].split()), said)

    async def _connected(self, use: Callable[[Client], Awaitable[ResultT]]) -> ResultT:
        async with Client(self.address or self._of_the_mesh(), tenant=self.tenant) as client:
            return await use(client)

    def _of_the_mesh(self) -> str:
        try:
            return StateFolder(self.state).read().edge
        except NoMesh as error:
            raise typer.BadParameter(f"{error}, or name one with --address") from None


def largest(message: type[Message], field: str) -> int:
    """What the contract allows a number to be."""
    described = message.DESCRIPTOR.fields_by_name[field]
    rules = described.GetOptions().Extensions[validate_pb2.field]
    return int(getattr(rules, str(rules.WhichOneof("type"))).lte)


def seconds(text: str | float) -> float:
    """`90s`, `10m`, `2h` or `1d`, in seconds; a default is in seconds already."""
    if isinstance(text, float | int):
        return text
    found = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if not found:
        raise typer.BadParameter(f"{text} has to be a number with s, m, h or d after it, such as 90s or 30d")
    if (asked := int(found[1]) * UNITS[found[2]]) > LONGEST:
        raise typer.BadParameter(f"{text} is more than 100 years")
    return asked
