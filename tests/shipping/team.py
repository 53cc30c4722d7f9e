"""The team of the shipping service: its environment, and its process, which no mesh runs."""

import site
import venv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_contracts import Rpc, method_policy
from graphmesh_local.child_process import Child, Program, reserve_port
from graphmesh_local.probes import grpc_health_probe
from graphmesh_local.supervisor import OnDeath, Supervisor

from tests.shipping.contract import FOLDER, NAME, contract, generate_code

DESCRIPTOR_SET = "shipping.binpb"


@dataclass(frozen=True)
class Team:
    """The folder of the team."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / ".venv/bin/python"

    @property
    def mesh_file(self) -> Path:
        """The file that a mesh includes."""
        return self.folder / "mesh.yaml"

    @property
    def hold(self) -> Path:
        """While this file exists, effects wait before they are committed."""
        return self.folder / "hold"

    @property
    def waiting(self) -> Path:
        """Exists when an effect waits."""
        return self.folder / "waiting"

    def join(self, **service: Any) -> None:
        """Write the team's contract, and the file that a mesh includes, with an entry of its service."""
        (self.folder / DESCRIPTOR_SET).write_bytes(contract())
        shipping = {"service": NAME, "descriptor_set": DESCRIPTOR_SET, **service}
        self.mesh_file.write_text(yaml.safe_dump({"services": {"shipping": shipping}}))

    def program(self, port: int) -> Program:
        return Program(
            name="acme-shipping",
            argv=[str(self.python), "-m", "acme_shipping", "--listen", f"127.0.0.1:{port}", "--hold", str(self.folder)],
            log=self.folder / "shipping.log",
            probe=grpc_health_probe(f"127.0.0.1:{port}", NAME),
            env={"PYTHONPATH": ""},
            folder=self.folder,
        )


def found_team(folder: Path) -> Team:
    """Make an environment whose Python has the service and its generated contract."""
    team = Team(folder)
    venv.create(folder / ".venv", symlinks=True)
    [packages] = (folder / ".venv/lib").glob("python*/site-packages")
    generated = folder / "generated"
    generated.mkdir()
    generate_code(generated)
    ours = site.getsitepackages()[0]
    (packages / "team.pth").write_text(f"import site; site.addsitedir({ours!r})\n{generated}\n{FOLDER}\n")
    return team


@asynccontextmanager
async def external_service(team: Team) -> AsyncIterator[Child]:
    """Run the service as others would, and list it in the team's file."""
    port = reserve_port()
    team.join(external=True, addresses=[f"127.0.0.1:{port}"])
    async with Supervisor(OnDeath.CONTINUE) as supervisor:
        [child] = await supervisor.start([team.program(port)])
        yield child


async def ship(channel: Channel, shipping: Any, order_id: str) -> Any:
    """Ship a parcel by the handles of a descriptor set. Raises GraphmeshError."""
    headers = [*_caller(shipping.Ship), (metadata.IDEMPOTENCY_KEY, order_id)]
    request = shipping.Ship.request(order_id=order_id, to={"city": "Riga"})
    return await channel.unary(shipping.Ship, request, deadline=Deadline.after(60), headers=headers)


async def parcels(channel: Channel, shipping: Any, order_id: str) -> list[str]:
    """Return the ids of the parcels of an order."""
    request = shipping.ListParcels.request(order_id=order_id)
    deadline, headers = Deadline.after(60), _caller(shipping.ListParcels)
    found = await channel.unary(shipping.ListParcels, request, deadline=deadline, headers=headers)
    return [parcel.parcel_id for parcel in found.parcels]


def _caller(rpc: Rpc[Any, Any]) -> list[tuple[str, str]]:
    """Return the headers of a caller that may call a method."""
    scopes = " ".join(sorted(method_policy(rpc.descriptor).scopes))
    return [(metadata.TENANT, "default"), (metadata.SUBJECT, "test"), (metadata.SCOPES, scopes)]
