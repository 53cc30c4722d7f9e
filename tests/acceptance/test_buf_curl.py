"""`buf curl` needs an address and a token only at the edge: reflection, health and rich errors work."""

import asyncio
import json
import shutil
import sys
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from graphmesh_local.certificates import mutual_tls

from tests.acceptance.local_mesh import LocalMesh

pytestmark = pytest.mark.asyncio(loop_scope="session")

RUNS = "graphmesh.orchestrator.v1.RunService"


@dataclass(frozen=True)
class CurlResult:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def curl(address: str, path: str = "", *options: str) -> CurlResult:
    """Run `buf curl --protocol grpc`, which implies HTTP/2, as the documentation does."""
    buf = shutil.which("buf", path=str(Path(sys.executable).parent))
    assert buf, "buf is installed with the dev group"
    scheme = "https" if "--cacert" in options else "http"
    url = f"{scheme}://{address}/{path}"
    process = await asyncio.create_subprocess_exec(
        buf, "curl", "--protocol", "grpc", *options, url, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    return CurlResult(process.returncode or 0, out.decode(), err.decode())


async def at_edge(mesh: LocalMesh, path: str, *options: str) -> CurlResult:
    """Call the edge, which requires the token for reflection too."""
    return await curl(mesh.edge, path, "-H", ": ".join(mesh.authorization), "--reflect-header", "*", *options)


async def test_the_edge_lists_its_methods(mesh: LocalMesh) -> None:
    """Those of the tool services are not among them."""
    listed = (await at_edge(mesh, "", "--http2-prior-knowledge", "--list-methods")).out.split()
    assert {f"{RUNS}/CreateRun", f"{RUNS}/StreamRun", "grpc.health.v1.Health/Check"} <= set(listed)
    assert not [method for method in listed if "billing" in method]


async def test_a_run_without_any_proto_file(mesh: LocalMesh) -> None:
    """Begin a run and stream its events by reflection alone."""
    request = {"graph": "support", "input": {"customer_id": "cu_1017", "message": "How do I clean a nib?"}}
    begun = await at_edge(mesh, f"{RUNS}/CreateRun", "-d", json.dumps(request))
    run_id = begun.json["run"]["runId"]
    events = await at_edge(mesh, f"{RUNS}/StreamRun", "-d", json.dumps({"runId": run_id}))
    assert events.code == 0
    assert "RUN_STATUS_SUCCESS" in events.out


async def test_an_error_names_the_field_and_the_rule(mesh: LocalMesh) -> None:
    refused = await at_edge(mesh, f"{RUNS}/CreateRun", "-d", '{"graph": "support", "input": {}}')
    assert refused.code != 0
    assert '"invalid_argument"' in refused.err
    assert "input.message: is required" in refused.err


async def test_every_server_describes_itself(mesh: LocalMesh) -> None:
    """Each server lists its service and reports its health, to a caller with Envoy's certificate."""
    for name, service in mesh.running.mesh.services.items():
        [listener] = service.replica_listeners
        listed = await curl(listener.target, "", *certificate(mesh, name), "--list-services")
        assert service.service in listed.out.split(), listed
        request = json.dumps({"service": service.service})
        health = await curl(listener.target, "grpc.health.v1.Health/Check", *certificate(mesh, name), "-d", request)
        assert health.json == {"status": "SERVING"}


def certificate(mesh: LocalMesh, server: str) -> tuple[str, ...]:
    """Return the options for a port with mutual TLS: Envoy's certificate, and the name of the server."""
    tls = mutual_tls(mesh.running.mesh)
    own = str(tls.certificate())
    return ("--cert", own, "--key", own, "--cacert", str(tls.authorities), "--servername", server)
