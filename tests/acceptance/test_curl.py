"""`buf curl` needs nothing but an address: reflection, health and rich errors just work (L4)."""

import asyncio
import json
import shutil
import sys
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.shop import OwnShop

pytestmark = pytest.mark.asyncio(loop_scope="session")

RUNS = "graphmesh.orchestrator.v1.RunService"


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def curl(address: str, path: str = "", *options: str) -> Ended:
    """`buf curl --protocol grpc`, which implies HTTP/2, as the README has it."""
    buf = shutil.which("buf", path=str(Path(sys.executable).parent))
    assert buf, "buf is of the dev group"
    url = f"http://{address}/{path}"
    process = await asyncio.create_subprocess_exec(
        buf, "curl", "--protocol", "grpc", *options, url, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def test_the_edge_says_what_it_has(shop: OwnShop) -> None:
    """Its methods are listed, and those of the tool services are not among them."""
    listed = (await curl(shop.edge, "", "--http2-prior-knowledge", "--list-methods")).out.split()
    assert {f"{RUNS}/CreateRun", f"{RUNS}/StreamRun", "grpc.health.v1.Health/Check"} <= set(listed)
    assert not [method for method in listed if "billing" in method]


async def test_a_run_without_any_proto_file(shop: OwnShop) -> None:
    """Begin a run and see its events: what reflection says is enough to make the calls."""
    request = {"graph": "support", "input": {"customer_id": "cu_1017", "message": "How do I clean a nib?"}}
    begun = await curl(shop.edge, f"{RUNS}/CreateRun", "-d", json.dumps(request))
    run_id = begun.json["run"]["runId"]
    events = await curl(shop.edge, f"{RUNS}/StreamRun", "-d", json.dumps({"runId": run_id}))
    assert events.code == 0
    assert "RUN_STATUS_SUCCESS" in events.out


async def test_a_refusal_is_readable(shop: OwnShop) -> None:
    """The message names the field and the rule."""
    refused = await curl(shop.edge, f"{RUNS}/CreateRun", "-d", '{"graph": "support", "input": {}}')
    assert refused.code != 0
    assert '"invalid_argument"' in refused.err
    assert "input.message: is required" in refused.err


async def test_every_server_describes_itself(shop: OwnShop) -> None:
    """Asked directly, each lists its service and says that it is healthy."""
    for service in shop.running.mesh.services.values():
        [place] = service.replica_listeners
        listed = await curl(place.target, "", "--http2-prior-knowledge", "--list-services")
        assert service.service in listed.out.split()
        asked = json.dumps({"service": service.service})
        health = await curl(place.target, "grpc.health.v1.Health/Check", "-d", asked)
        assert health.json == {"status": "SERVING"}
