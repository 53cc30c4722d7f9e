"""Mutual TLS of Envoy: who is at the other end, what each workload may call, and certificates that are replaced."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import CircuitOpen, GraphmeshError, Unreachable, WorkloadNotAllowed
from graphmesh_chassis.workload import Workload
from graphmesh_contracts import Rpc
from graphmesh_contracts.workloads import COMMANDS, ENVOY, PROBER
from graphmesh_local.certificates import add_authority, issue_certificates, open_authority
from graphmesh_local.probes import http_get
from graphmesh_mesh.envoy.render import render
from graphmesh_mesh.envoy.validate import validate
from graphmesh_mesh.mutual_tls import AUTHORITIES, certificate_file
from graphmesh_mesh.topology import Mesh

from tests.integration.envoy import books_contract
from tests.integration.envoy.envoy_harness import (
    EnvoyHarness,
    Replica,
    books_mesh,
    eventually,
    respond,
    running_envoy,
)

DOMAIN = "books.example"
WORKLOADS = ("books", "crm", ENVOY, PROBER, COMMANDS)
GET, PUT = (
    Rpc[Any, Any](
        books_contract.path(name), books_contract.type_of(f"{name}Request"), books_contract.type_of(f"{name}Response")
    )
    for name in ("GetBook", "PutBook")
)


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    folder = tmp_path / "certificates"
    open_authority(folder)
    issue_certificates(folder, DOMAIN, WORKLOADS)
    return folder


def mesh_with(certificates: Path) -> Mesh:
    mesh = books_mesh()
    tls = {"trust_domain": DOMAIN, "certificates": certificates}
    return Mesh.model_validate({**mesh.model_dump(), "mesh": {**mesh.mesh.model_dump(), "tls": tls}})


def workload(folder: Path, name: str) -> Workload:
    return Workload(folder / certificate_file(name), folder / AUTHORITIES)


async def get(channel: Channel, rpc: Rpc[Any, Any] = GET) -> Any:
    return await channel.unary(rpc, rpc.request(), deadline=Deadline.after(30))


async def is_served(channel: Channel, rpc: Rpc[Any, Any] = GET) -> bool:
    try:
        await get(channel, rpc)
    except GraphmeshError:
        return False
    return True


@dataclass(frozen=True)
class Secured:
    """An Envoy with mutual TLS and a replica behind it."""

    envoy: EnvoyHarness
    certificates: Path

    def channel(self, name: str, folder: Path | None = None) -> Channel:
        """Connect to the mesh listener as a workload."""
        return Channel(self.envoy.mesh.mesh.target, workload=workload(folder or self.certificates, name))

    async def wait_for_certificates(self, is_meant: Callable[[set[int], set[int]], bool]) -> None:
        """Wait until Envoy has such certificates and authorities, by their numbers."""

        async def has_read() -> bool:
            read = json.loads((await http_get(f"http://{self.envoy.mesh.admin.target}/certs")).body)["certificates"]
            own, trusted = (
                {int(entry["serial_number"], 16) for one in read for entry in one[kind]}
                for kind in ("cert_chain", "ca_cert")
            )
            return is_meant(own, trusted)

        await eventually(has_read)


@asynccontextmanager
async def secured(certificates: Path, tmp_path: Path, server: str = "books") -> AsyncIterator[Secured]:
    """Run Envoy with a replica that has the certificate of the workload `server`."""
    mesh, replica = mesh_with(certificates), Replica()
    async with (
        replica.serving(mesh.services["books"].replica_listeners[0], workload(certificates, server).server()),
        running_envoy(mesh, tmp_path, replica) as envoy,
    ):
        yield Secured(envoy, certificates)


def number_of(file: Path) -> int:
    """Return the serial number of the first certificate in a file."""
    return x509.load_pem_x509_certificates(file.read_bytes())[0].serial_number


def test_envoy_accepts_what_is_rendered_and_no_key_is_in_it(certificates: Path, tmp_path: Path) -> None:
    files = render(mesh_with(certificates))
    validate(files)
    assert {"sds-certificate.yaml", "sds-authorities.yaml", "ecds-workloads.yaml"} <= files.keys()
    assert not any(b"PRIVATE KEY" in content for content in files.values())
    assert str(certificates / "envoy.pem").encode() in files["sds-certificate.yaml"]


async def test_each_workload_calls_what_it_may(certificates: Path, tmp_path: Path) -> None:
    """An edit applies to connections that are open, and takes nothing from others."""
    async with (
        secured(certificates, tmp_path) as one,
        one.channel(COMMANDS) as commands,
        one.channel("books") as books,
    ):
        await eventually(lambda: is_served(commands))
        one.envoy.replica.received.clear()
        for name in ("books", "crm", PROBER, ENVOY):
            async with one.channel(name) as channel:
                with pytest.raises(WorkloadNotAllowed, match="may not call"):
                    await get(channel)
        with pytest.raises(WorkloadNotAllowed):
            await get(books)
        assert one.envoy.replica.received == []
        one.envoy.change(calls=["books.GetBook"])
        await eventually(lambda: is_served(books))
        with pytest.raises(WorkloadNotAllowed):
            await get(books, PUT)
        one.envoy.change(calls=["books"])
        await eventually(lambda: is_served(books, PUT))
        one.envoy.change(calls=[])

        async def is_denied() -> bool:
            return not await is_served(books)

        await eventually(is_denied)
        await get(commands)


async def test_connections_without_a_certificate_of_the_mesh_are_refused(
    certificates: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """None, one of another authority, and one of this authority for another trust domain."""
    forged, foreign = (tmp_path_factory.mktemp(name) for name in ("forged", "foreign"))
    open_authority(forged)
    issue_certificates(forged, DOMAIN, [COMMANDS])
    for file in (AUTHORITIES, "authority-key.pem"):
        (foreign / file).write_bytes((certificates / file).read_bytes())
    issue_certificates(foreign, "evil.example", [COMMANDS])
    (forged / AUTHORITIES).write_bytes((certificates / AUTHORITIES).read_bytes())
    async with secured(certificates, tmp_path) as one:
        async with one.channel(COMMANDS) as commands:
            await eventually(lambda: is_served(commands))
        one.envoy.replica.received.clear()
        for folder in (forged, foreign):
            async with one.channel(COMMANDS, folder) as channel:
                with pytest.raises(Unreachable):
                    await get(channel)
        async with Channel(one.envoy.mesh.mesh.target) as plain:
            with pytest.raises(Unreachable):
                await get(plain)
        assert one.envoy.replica.received == []


async def test_a_server_with_the_certificate_of_another_workload_gets_no_call(
    certificates: Path, tmp_path: Path
) -> None:
    async with secured(certificates, tmp_path, "crm") as one, one.channel(COMMANDS) as channel:

        async def has_no_replica() -> bool:
            try:
                await get(channel)
            except CircuitOpen:
                return True
            except Unreachable:
                return False
            raise AssertionError("the call was served")

        await eventually(has_no_replica)
        assert (await one.envoy.edge()).code is grpc.StatusCode.UNAVAILABLE
        assert one.envoy.replica.received == []


async def test_certificates_and_authorities_are_replaced_under_load(certificates: Path, tmp_path: Path) -> None:
    """Every call through both listeners succeeds. Then new connections, in both directions, have the new ones."""
    finished, calls = asyncio.Event(), 0

    async def respond_later(request: Any, context: Any) -> Any:
        await asyncio.sleep(0.02)
        return await respond(request, context)

    async def keep_calling(call: Callable[[], Any]) -> None:
        nonlocal calls
        while not finished.is_set():
            await call()
            calls += 1

    async def wait_for_calls() -> None:
        until = calls + 10
        while calls < until:
            await asyncio.sleep(0.01)

    first = number_of(certificates / certificate_file(ENVOY))
    first_authority = number_of(certificates / AUTHORITIES)
    mesh, replica, client = mesh_with(certificates), Replica(), workload(certificates, COMMANDS)
    listener, server = mesh.services["books"].replica_listeners[0], workload(certificates, "books")
    async with (
        AsyncExitStack() as serving,
        running_envoy(mesh, tmp_path, replica) as envoy,
        Channel(mesh.mesh.target, workload=client) as channel,
        asyncio.timeout(120),
    ):
        await serving.enter_async_context(replica.serving(listener, server.server()))
        one, replica.handler = Secured(envoy, certificates), respond_later

        async def call_edge() -> None:
            assert (outcome := await envoy.edge(timeout=30)).code is grpc.StatusCode.OK, outcome

        async def is_served_at_the_edge() -> bool:
            return (await envoy.edge()).code is grpc.StatusCode.OK

        await eventually(lambda: is_served(channel))
        await eventually(is_served_at_the_edge)
        async with asyncio.TaskGroup() as group:
            for call in (lambda: get(channel), lambda: get(channel), call_edge):
                group.create_task(keep_calling(call))
            issue_certificates(certificates, DOMAIN, WORKLOADS)
            await one.wait_for_certificates(lambda own, _: first not in own)
            await wait_for_calls()
            add_authority(certificates)
            newest = number_of(certificates / AUTHORITIES)
            await one.wait_for_certificates(lambda _, trusted: newest in trusted)
            while client.credentials().authorities.count(b"BEGIN") < 2:
                await asyncio.sleep(0.01)
            issue_certificates(certificates, DOMAIN, WORKLOADS)
            issued = number_of(certificates / certificate_file(ENVOY))
            await one.wait_for_certificates(lambda own, _: own == {issued})
            await wait_for_calls()
            finished.set()
        add_authority(certificates)
        await one.wait_for_certificates(lambda _, trusted: first_authority not in trusted)
        async with one.channel(COMMANDS) as renewed:
            await get(renewed)
        await serving.aclose()
        async with replica.serving(listener, workload(certificates, "books").server()):
            await eventually(lambda: is_served(channel))
