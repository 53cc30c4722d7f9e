"""An agent with the tools of another team: its actions are applied once and in order, though processes die."""

import json
import random
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from google.protobuf.json_format import MessageToDict
from graphmesh.orchestrator.v1 import RunStatus
from graphmesh_contracts.service_handles import FOLDER_SETTING, service
from graphmesh_local.server_programs import ORCHESTRATOR
from graphmesh_local.spawning import Spawner

from tests.acceptance.local_mesh import LocalMesh, retry_until_answered, start_mesh, wait_until
from tests.acceptance.mesh_file import mesh_of
from tests.integration.model.vendor_server import Reply, Request, VendorServer, openai
from tests.retail.contract import NAME, contract, generate_code
from tests.retail.replay import calls_of, expected, script
from tests.retail.shop import Data

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]
SEED = 12
TURNS = 8


@dataclass(frozen=True)
class Retail:
    """A mesh with the agent and the service, and a model that takes the turns of the present script."""

    mesh: LocalMesh
    handles: Any
    model: VendorServer
    turns: list[list[Any]]

    def has_taken(self, turn: int) -> bool:
        """Whether the model has answered with the turn."""
        return any(taken(request) >= turn for request in self.model.requests)

    async def shop(self) -> Data:
        """Return the orders and users that the service has, and what it has done."""
        call = self.handles.GetOrderDetails, self.handles.GetUserDetails
        orders = [f"o{user}{number}" for user in (1, 2, 3) for number in (1, 2, 3, 4)]
        read = [(call[0], {"order_id": one}) for one in orders] + [(call[1], {"user_id": f"u{n}"}) for n in (1, 2, 3)]
        found = [MessageToDict((await self.mesh.call(rpc, rpc.request(**args))).result) for rpc, args in read]
        return {"orders": dict(zip(orders, found, strict=False)), "users": found[len(orders) :]}


def taken(request: Request) -> int:
    """Return the number of turns in the conversation of a prompt."""
    return sum(message["role"] == "assistant" for message in request.body["messages"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def retail(tmp_path_factory: pytest.TempPathFactory, spawn: Spawner) -> AsyncIterator[Retail]:
    folder = tmp_path_factory.mktemp("retail")
    generated = folder / "generated"
    generated.mkdir()
    generate_code(generated)
    (folder / "retail.binpb").write_bytes(contract())
    graphs = folder / "langgraph.json"
    graphs.write_text(json.dumps({"graphs": {"retail": f"{ROOT / 'tests/retail/agent.py'}:graph"}}))
    turns: list[list[Any]] = []

    def reply(request: Request) -> Reply:
        """The turn that follows those in the conversation, however often it is requested."""
        number = taken(request)
        answer = openai(calls=list(calls_of(turns[number], number))) if number < len(turns) else openai("Done.")
        return answer(request)

    async with VendorServer(reply).serving() as vendor:
        model = {"default": {"model": "openai:scripted", "base_url": vendor.url}}
        settings = {
            "GRAPHMESH_ORCHESTRATOR_GRAPHS": str(graphs),
            "GRAPHMESH_MODEL_MODELS": json.dumps(model),
            "GRAPHMESH_MODEL_API_KEYS": json.dumps({"default": "sk-none"}),
        }
        path = mesh_of(folder, ORCHESTRATOR, "model", are_patient=True)
        mesh_file = yaml.safe_load(path.read_text())
        mesh_file["services"]["retail"] = {
            "service": NAME,
            "descriptor_set": "retail.binpb",
            "module": "tests.retail.acme_retail",
            "python": sys.executable,
            "folder": str(ROOT),
            "port": 20800,
            "env": {"PYTHONPATH": f"{generated}:{ROOT}"},
        }
        path.write_text(yaml.safe_dump(mesh_file))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(FOLDER_SETTING, str(folder / "state/contracts"))
            async with start_mesh(folder, spawn, path, settings) as mesh:
                yield Retail(mesh, service(NAME), vendor, turns)


async def test_actions_are_applied_once_and_in_order_though_processes_die(retail: Retail) -> None:
    """They are killed in turns by the seed, and a run that ends because the service is not back is continued."""
    retail.turns[:] = script(SEED, TURNS)
    shop, _ = expected(retail.turns)
    deaths = sorted(random.Random(SEED).sample(range(1, TURNS), 3))
    async with retail.mesh.client(retry_timeout=60) as client:
        run = await client.create_run("retail", {"messages": [{"role": "user", "content": "Please."}]})
        for turn, name in zip(deaths, ("retail", ORCHESTRATOR, "retail"), strict=True):
            await wait_until(partial(retail.has_taken, turn))
            await retail.mesh.kill(name)
            await retail.mesh.running.restart(name)
        ended = await client.wait_run(run.run_id, timeout=60)
        while ended.status == RunStatus.RUN_STATUS_ERROR:
            again = await client.create_run("retail", None, thread_id=run.thread_id)
            ended = await client.wait_run(again.run_id, timeout=60)
    assert ended.status == RunStatus.RUN_STATUS_SUCCESS, ended.error
    found = await retry_until_answered(retail.shop)
    assert found == {"orders": shop["orders"], "users": list(shop["users"].values())}
