"""The connection of a command to a mesh: its address, its tenant, and advice on the mesh's errors."""

import asyncio
import os
import re
import shlex
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from buf.validate import validate_pb2
from google.protobuf.message import Message
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.errors import DependencyError, GraphmeshError
from graphmesh_chassis.identity import TENANT_RULE
from graphmesh_client import Client
from graphmesh_client.endpoint import Endpoint
from graphmesh_client.token import TOKEN_VARIABLE, TokenSource
from graphmesh_contracts.workloads import COMMANDS
from graphmesh_local.development_issuer import token_source
from graphmesh_local.state_folder import DEFAULT_STATE, MeshState, NoMesh, StateFolder
from graphmesh_mesh.mutual_tls import AUTHORITIES, certificate_file

from graphmesh_cli.commands.output import print_note
from graphmesh_cli.failures import ExitCode, Failure, of_mesh

if TYPE_CHECKING:
    from graphmesh_chassis.call_tokens import CallSigner
    from graphmesh_chassis.workload import Workload

ResultT = TypeVar("ResultT")
Address = Annotated[str, typer.Option(help="The edge, as http://host:port; by default that of the running mesh.")]
State = Annotated[Path, typer.Option(help="The state folder of the running mesh.")]
Tenant = Annotated[str, typer.Option(help="The tenant.")]
Token = Annotated[
    str, typer.Option(envvar=TOKEN_VARIABLE, show_default=False, help="A token of an issuer of the mesh.")
]
DEFAULT_TENANT = "default"
CALL_KEY_VARIABLE = "GRAPHMESH_CALL_KEY"
"""The environment variable with the path of the key that signs the calls of services."""
CERTIFICATE_VARIABLE, AUTHORITIES_VARIABLE = "GRAPHMESH_CERTIFICATE", "GRAPHMESH_AUTHORITIES"
"""Those with the paths of the commands' certificate and of the authorities that they trust, with mutual TLS."""

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MAX_SECONDS = 100 * 365 * UNITS["d"]
NO_MESH = "is the mesh up? Start one with graphmesh up, or name another with --address"
NO_HTTP2 = "Failed parsing HTTP/2"
"""In the text of gRPC about a server that speaks another protocol."""
FOREIGN_PROGRAM = "another program listens there: the edge of a mesh is the first address that graphmesh up prints"
ADVICE = {
    "THREAD_BUSY": "[watch {run}]; or begin with --multitask enqueue, interrupt or rollback; or end it: [cancel {run}]",
    "WRONG_GRAPH": "omit --thread, or run {graph}",
    "RUN_NOT_INTERRUPTED": "see the status of the run: [watch {run}]",
    "APPROVAL_REQUIRED": "[approve {approval}]",
    "APPROVAL_ANSWERED": "an approval is answered once",
    "QUEUE_FULL": "wait until some runs have begun, or cancel some: [runs]",
    "UNAUTHENTICATED": "pass a token of an issuer of the mesh: --token, or the environment variable GRAPHMESH_TOKEN",
    "SCOPE_MISSING": "a caller with these scopes must make the call",
    "GRAPH_NOT_ALLOWED": "a caller with a role that has the graph must make the call",
    "UNREACHABLE": NO_MESH,
    "CIRCUIT_OPEN": NO_MESH,
    "CONNECTION_LOST": "the call may have happened: check before you repeat it",
}
"""Advice by the reason of an error, formatted with its data. Commands are in brackets."""


@dataclass(frozen=True)
class Connection:
    """The mesh and the tenant of a command's calls."""

    address: str
    """The address of the edge, as a client takes it; empty: that of the mesh that runs from `state`."""
    state: Path
    tenant: str
    token: str = ""
    """That of the calls; empty: one of the development issuer of the mesh that runs from `state`, if it has one."""
    retry_timeout: float = 10.0
    """Seconds to retry while the mesh does not respond."""

    def __post_init__(self) -> None:
        if self.address:
            parsed_address(self.address)
        check_tenant(self.tenant)

    def run(self, action: Callable[[Client], Awaitable[ResultT]]) -> ResultT:
        """Run `action` with a client.

        Raises:
            Failure: of the mesh, with advice; or no mesh runs.
        """
        try:
            return asyncio.run(self._run(action))
        except GraphmeshError as error:
            code = ExitCode.UNAVAILABLE if isinstance(error, DependencyError) else ExitCode.FAILED
            raise of_mesh(error, code, self._advice(error)) from error

    def command(self, *words: str) -> str:
        """Return a command line of `graphmesh` for the same mesh and tenant."""
        values = {"--address": self.address, "--tenant": self.tenant if self.tenant != DEFAULT_TENANT else ""}
        values["--state"] = str(self.state) if self.state != DEFAULT_STATE and not self.address else ""
        options = [part for name, value in values.items() if value for part in (name, value)]
        return f"graphmesh {shlex.join([*words, *options])}"

    def _advice(self, error: GraphmeshError) -> str:
        if NO_HTTP2 in error.message:
            return FOREIGN_PROGRAM
        try:
            advice = ADVICE.get(error.reason, "").format_map(error.data)
        except KeyError:
            return ""
        return re.sub(r"\[([^\[\]]+)\]", lambda words: self.command(*words[1].split()), advice)

    async def _run(self, action: Callable[[Client], Awaitable[ResultT]]) -> ResultT:
        address = self.address or running_mesh_of(self.state).edge
        noted = False

        def note_once(error: DependencyError) -> None:
            nonlocal noted
            if not noted:
                print_note(f"{address}: {error.reason}; trying again for {self.retry_timeout:g} s")
            noted = True

        token = self.token or development_token(self.state, self.tenant, self.address)
        async with Client(
            address, tenant=self.tenant, retry_timeout=self.retry_timeout, on_retry=note_once, token=token
        ) as client:
            return await action(client)


def development_token(state: Path, tenant: str, address: str = "") -> TokenSource:
    """Return what makes tokens for the mesh that runs from `state`; empty where it has no issuer.

    Args:
        address: that of the calls; empty: they are of this mesh. No token is sent to another one.
    """
    folder = StateFolder(state)
    if not folder.issuer_key.exists() or (address and not _is_edge(address, folder)):
        return ""
    return token_source(folder, tenant)


def _is_edge(address: str, folder: StateFolder) -> bool:
    """Whether the mesh that runs from the folder has this address."""
    try:
        return parsed_address(address).target.replace("localhost:", "127.0.0.1:") == folder.read().edge
    except NoMesh:
        return False


def running_mesh_of(state: Path) -> MeshState:
    """Return the mesh that runs from a state folder. Raises Failure where none does."""
    try:
        return StateFolder(state).read()
    except NoMesh as error:
        raise Failure(f"{error}, or name one with --address", exit_code=ExitCode.UNAVAILABLE) from None


def parsed_address(address: str) -> Endpoint:
    """Raises typer.BadParameter where an address is malformed."""
    try:
        return Endpoint.parse(address)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--address") from None


def check_tenant(tenant: str) -> None:
    """Raises typer.BadParameter where a tenant's name breaks the rule of the contracts."""
    if not TENANT_RULE.fullmatch(tenant):
        rule = "must consist of lower-case letters, digits, - and _, at most 63"
        raise typer.BadParameter(rule, param_hint="--tenant")


@dataclass(frozen=True)
class MeshTarget:
    """Where commands call services."""

    address: str
    """host:port of the mesh listener, or of one service."""
    call_key: Path | None = None
    """The key that signs their calls; None: they have no tokens."""
    certificate: Path | None = None
    """The certificate of the commands; None: connections are plain."""
    authorities: Path | None = None

    def channel(self) -> Channel:
        """Raises Failure where the key or the certificate cannot be used."""
        return Channel(self.address, signer=self._signer(), workload=self._workload())

    def failure(self, error: GraphmeshError) -> Failure:
        """Return the failure of a command whose call has failed, with advice."""
        code = ExitCode.UNAVAILABLE if isinstance(error, DependencyError) else ExitCode.FAILED
        if ADVICE.get(error.reason) != NO_MESH:
            return of_mesh(error, code)
        variables = f"{CERTIFICATE_VARIABLE} and {AUTHORITIES_VARIABLE}"
        return of_mesh(error, code, NO_MESH if self.certificate else f"{NO_MESH}; with mutual TLS set {variables}")

    def _signer(self) -> "CallSigner | None":
        if self.call_key is None:
            return None
        from graphmesh_chassis.call_tokens import CallSigner

        with _usable(self.call_key):
            return CallSigner(self.call_key)

    def _workload(self) -> "Workload | None":
        if self.certificate is None or self.authorities is None:
            return None
        from graphmesh_chassis.workload import Workload

        with _usable(self.certificate):
            return Workload(self.certificate, self.authorities)


@contextmanager
def _usable(file: Path) -> Iterator[None]:
    """Raises Failure where the file cannot be read, or its content is refused."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise Failure(f"{file}: {error}", exit_code=ExitCode.USAGE) from None


def mesh_target(address: str, state: Path) -> MeshTarget:
    """Return `address`, or the mesh listener of the mesh that runs from `state`. Raises Failure where none does."""
    own_key, certificate, authorities = map(_path_of, (CALL_KEY_VARIABLE, CERTIFICATE_VARIABLE, AUTHORITIES_VARIABLE))
    if (certificate is None) != (authorities is None):
        raise Failure(f"{CERTIFICATE_VARIABLE} and {AUTHORITIES_VARIABLE}: the one needs the other")
    if address:
        return MeshTarget(parsed_address(address).target, own_key, certificate, authorities)
    mesh, folder = running_mesh_of(state), StateFolder(state)
    if not certificate:
        certificate = mesh.certificates / certificate_file(COMMANDS)
        authorities = mesh.certificates / AUTHORITIES
    return MeshTarget(mesh.mesh, own_key or folder.call_key, certificate, authorities)


def _path_of(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None


def max_value(message: type[Message], field: str) -> int:
    """Return the maximum that the contract's rule allows for a number."""
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    rules = descriptor.GetOptions().Extensions[validate_pb2.field]
    return int(getattr(rules, str(rules.WhichOneof("type"))).lte)


def parse_seconds(text: str | float) -> float:
    """Parse `90s`, `10m`, `2h` or `1d` to seconds; a number, as the default of an option, is in seconds already."""
    if isinstance(text, float | int):
        return text
    match = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if not match:
        raise typer.BadParameter(f"{text} must be a number followed by s, m, h or d, such as 90s or 30d")
    if (duration := int(match[1]) * UNITS[match[2]]) > MAX_SECONDS:
        raise typer.BadParameter(f"{text} is more than 100 years")
    return duration
