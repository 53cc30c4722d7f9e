"""TLS between Envoy and a service that others run, and a service without health checks."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from graphmesh_mesh.topology import Mesh

from tests.integration.envoy.envoy_harness import EnvoyHarness, Replica, books_mesh, eventually, outcome, running_envoy

CALL_BYTES = 2000
"""More than Envoy sends on a connection before the headers of a call with LONG."""
LONG = {"x-test": "x" * 4000}
NAME = "books.acme.example"
EXTERNAL: dict[str, Any] = {"external": True, "module": None}


@dataclass(frozen=True)
class Certificates:
    """A certificate authority of a team, with the files that a mesh has of it."""

    authority: trustme.CA
    folder: Path

    def __post_init__(self) -> None:
        self.authority.cert_pem.write_to_path(self.folder / "ca.pem")

    def server(self, *, identifies_clients: bool = False) -> grpc.ServerCredentials:
        pair = self.authority.issue_cert(NAME)
        chain = b"".join(one.bytes() for one in pair.cert_chain_pems)
        clients: dict[str, Any] = {"root_certificates": self.authority.cert_pem.bytes(), "require_client_auth": True}
        return grpc.ssl_server_credentials(
            [(pair.private_key_pem.bytes(), chain)], **(clients if identifies_clients else {})
        )

    @property
    def trust(self) -> dict[str, str]:
        return {"server_name": NAME, "ca": str(self.folder / "ca.pem")}

    def client(self) -> dict[str, str]:
        """Issue a certificate of the mesh, and return the keys of its files."""
        pair = self.authority.issue_cert("mesh.example")
        pair.private_key_pem.write_to_path(self.folder / "key.pem")
        pair.cert_chain_pems[0].write_to_path(self.folder / "client.pem")
        return {"certificate": str(self.folder / "client.pem"), "key": str(self.folder / "key.pem")}


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(trustme.CA(), tmp_path)


def mesh_of(tls: dict[str, str]) -> Mesh:
    """Return a mesh whose only service has TLS."""
    return books_mesh(**EXTERNAL, tls=tls)


async def is_refused(envoy: EnvoyHarness) -> None:
    """Wait until Envoy has checked the replica and does not use it."""
    await envoy.wait_for_no_replica()
    assert envoy.replica.received == []


async def test_a_service_is_called_over_tls_and_identifies_the_mesh(certificates: Certificates, tmp_path: Path) -> None:
    """Health checks too; without a certificate of the mesh, with another authority or name nothing is sent."""
    tls, replica = {**certificates.trust, **certificates.client()}, Replica()
    mesh, other = mesh_of(tls), trustme.CA()
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    async with (
        replica.serving(mesh.services["books"].replica_listeners[0], certificates.server(identifies_clients=True)),
        running_envoy(mesh, tmp_path, replica) as envoy,
    ):
        await envoy.wait_for_success()
        assert replica.health_checks
        for refused in (
            certificates.trust,
            {**tls, "server_name": "other.acme.example"},
            {**tls, "ca": str(tmp_path / "other.pem")},
        ):
            envoy.change(tls=refused)
            await envoy.wait_for_no_replica()
        replica.received.clear()
        await is_refused(envoy)
        envoy.change(tls=tls)
        await envoy.wait_for_success()


async def test_edited_certificates_are_used(certificates: Certificates, tmp_path: Path) -> None:
    """Envoy reads them again, since the digest in its cluster changes."""
    mesh, replica = mesh_of(certificates.trust), Replica()
    listener = mesh.services["books"].replica_listeners[0]
    async with running_envoy(mesh, tmp_path, replica) as envoy:
        async with replica.serving(listener, certificates.server()):
            await envoy.wait_for_success()
        renewed = Certificates(trustme.CA(), tmp_path)
        async with replica.serving(listener, renewed.server()):
            envoy.change()
            await envoy.wait_for_success()


async def test_a_service_without_health_checks_is_called(tmp_path: Path) -> None:
    mesh, replica = books_mesh(**EXTERNAL, health_check=False), Replica()
    async with (
        replica.serving(mesh.services["books"].replica_listeners[0]),
        running_envoy(mesh, tmp_path, replica) as envoy,
    ):
        await envoy.wait_for_success()
        assert replica.health_checks == set()


async def test_calls_wait_at_the_edge_for_a_replica(tmp_path: Path) -> None:
    """One that is not there yet, and one that is replaced; without `wait` they are refused at once."""
    mesh, replica = books_mesh(edge={"wait": 20}), Replica()
    listener = mesh.services["books"].replica_listeners[0]
    async with running_envoy(mesh, tmp_path, replica) as envoy:
        for _ in range(2):
            await envoy.wait_for_no_replica()
            calls = [envoy.edge.start("GetBook") for _ in range(40)]
            async with replica.serving(listener):
                for call in calls:
                    assert (await call).book_id == "book"
        envoy.mesh = mesh.model_copy(update={"edge": mesh.edge.model_copy(update={"wait": 0})})
        envoy.change()

        async def is_refused_at_once() -> bool:
            return (await envoy.edge()).flags == "UH"

        await eventually(is_refused_at_once)


async def test_a_call_on_a_connection_that_is_not_served_is_sent_again(tmp_path: Path) -> None:
    """As on one that a server still accepts while it ends. A call that must not be repeated gets UNAVAILABLE."""
    mesh, replica = books_mesh(**EXTERNAL, health_check=False, edge={"wait": 20}), Replica()
    listener = mesh.services["books"].replica_listeners[0]
    closed = asyncio.Queue[None]()

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await reader.readexactly(CALL_BYTES)
        writer.transport.abort()
        closed.put_nowait(None)

    async with running_envoy(mesh, tmp_path, replica) as envoy:
        async with await asyncio.start_server(close, "127.0.0.1", listener.port):
            repeated, single = envoy.edge.start("GetBook", headers=LONG), envoy.edge.start("DiscardBook", headers=LONG)
            failed = await outcome(single)
            assert (failed.code, failed.flags) == (grpc.StatusCode.UNAVAILABLE, "UC")
            await closed.get()
        async with replica.serving(listener):
            assert (await repeated).book_id == "book"
