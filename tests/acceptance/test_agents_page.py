"""The files and commands of docs/agents.md, with a model of a server on this machine that speaks OpenAI's protocol."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from graphmesh.model import v1 as pb
from graphmesh.ticketing.v1 import SearchTicketsRequest, TicketingService
from graphmesh_chassis.errors import ProviderMisconfigured, ProviderUnavailable
from graphmesh_local.spawning import Spawner

from tests.acceptance.local_mesh import LocalMesh, start_mesh
from tests.acceptance.mesh_file import mesh_of
from tests.integration.model.vendor_server import Reply, Request, VendorServer, failing, openai

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = (Path(__file__).parents[2] / "docs/agents.md").read_text()
FILES = dict(re.findall(r"^`(helper/[\w.]+)`\n\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
[COMMAND] = re.findall(r"^\$ graphmesh run helper '(.*)'$", PAGE, re.MULTILINE)
INVOICE = "INV-2038"
CUSTOMER = json.loads(COMMAND)["customer_id"]
KEY = "sk-0123456789-secret"


def helper(request: Request) -> Reply:
    """Read the invoice, then refund its charge and open a ticket in one turn, then answer."""
    if request.body["model"] == "unknown":
        return failing(404)(request)
    results = [message["content"] for message in request.body["messages"] if message["role"] == "tool"]
    if not results:
        return openai(calls=[("c1", "billing_GetInvoice", json.dumps({"invoice_id": INVOICE}))])(request)
    if len(results) > 1 or not (charges := re.findall(r"ch_[0-9a-f]+", results[0])):
        return openai("We have refunded it.")(request)
    [charge] = charges
    refund = {"charge_id": charge, "amount": {"currency_code": "EUR", "amount_minor": 1890}, "cause": "damaged"}
    ticket = {"subject": "Send a bottle again"}
    calls = [("c2", "billing_Refund", json.dumps(refund)), ("c3", "ticketing_CreateTicket", json.dumps(ticket))]
    return openai(calls=calls)(request)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[VendorServer]:
    async with VendorServer(helper).serving() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mesh(
    tmp_path_factory: pytest.TempPathFactory, spawn: Spawner, server: VendorServer
) -> AsyncIterator[LocalMesh]:
    folder = tmp_path_factory.mktemp("agents")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    settings = {
        "GRAPHMESH_ORCHESTRATOR_GRAPHS": str(folder / "helper/langgraph.json"),
        "GRAPHMESH_MODEL_MODELS": json.dumps(
            {
                "default": {"model": "openai:local", "base_url": server.url},
                "unknown": {"model": "openai:unknown", "base_url": server.url},
                "down": {"model": "openai:down", "base_url": "http://127.0.0.1:9/v1"},
                "demo": {"model": "offline"},
            }
        ),
        "GRAPHMESH_MODEL_API_KEYS": json.dumps({"default": KEY, "unknown": KEY}),
    }
    needed = mesh_of(folder, "orchestrator", "billing", "crm", "model", "ticketing")
    async with start_mesh(folder, spawn, needed, settings) as mesh:
        await mesh.create_customer(CUSTOMER)
        await mesh.create_paid_invoice(INVOICE, customer_id=CUSTOMER)
        yield mesh


async def graphmesh(mesh: LocalMesh, *words: str) -> str:
    """Return the output of a command, without its control sequences."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "graphmesh_cli", *words, "--state", str(mesh.running.folder.path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return output.decode()


async def test_stranger_runs_the_agent_of_the_page(mesh: LocalMesh, server: VendorServer) -> None:
    """Two effects that the customer confirms, one of them approved after that; each once."""
    shown = await graphmesh(mesh, "run", "helper", COMMAND)
    [run] = set(re.findall(r"run_\w+", shown))
    assert await effects(mesh) == (0, [])
    answers = [word for id in re.findall(r"--answer (\w+)=ANSWER", shown) for word in ("--answer", f"{id}=yes")]
    confirmed = await graphmesh(mesh, "resume", run, *answers)
    assert await effects(mesh) == (0, [("Send a bottle again", CUSTOMER)])
    [approval] = re.findall(r"graphmesh approve (\w+)", confirmed)
    await graphmesh(mesh, "approve", approval)
    assert "We have refunded it." in await graphmesh(mesh, "watch", run)
    assert await effects(mesh) == (1890, [("Send a bottle again", CUSTOMER)])
    assert {request.key for request in server.requests} == {KEY}


async def test_key_of_a_vendor_is_in_no_file_of_the_mesh(mesh: LocalMesh) -> None:
    """State, logs and configuration, also after an error in which the vendor quotes it."""
    await graphmesh(mesh, "run", "helper", COMMAND)
    with pytest.raises(ProviderMisconfigured):
        await generate(mesh, "unknown")
    files = [path for path in mesh.running.folder.path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    assert any(path.name == "model.log" for path in files)
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


async def test_agent_of_another_customer_reads_none_of_it(mesh: LocalMesh, server: VendorServer) -> None:
    """Its model names the invoice of the first one, and does not get it."""
    before = len(server.requests)
    await graphmesh(mesh, "run", "helper", json.dumps({**json.loads(COMMAND), "customer_id": "cu_2000"}))
    results = [message["content"] for message in server.requests[-1].body["messages"] if message["role"] == "tool"]
    assert len(server.requests) > before
    assert "RESOURCE_NOT_FOUND" in results[0]


async def effects(mesh: LocalMesh) -> tuple[int, list[tuple[str, str]]]:
    """Return what was refunded, and the tickets, each with its customer."""
    tickets = (await mesh.call(TicketingService.SearchTickets, SearchTicketsRequest())).tickets
    return sum(await mesh.refunds(INVOICE)), [(ticket.subject, ticket.customer_id) for ticket in tickets]


@pytest.mark.parametrize(("alias", "error"), [("down", ProviderUnavailable), ("unknown", ProviderMisconfigured)])
async def test_vendor_that_is_down_closes_the_way_to_no_other(
    mesh: LocalMesh, alias: str, error: type[Exception]
) -> None:
    """More failures than the breakers of the service and of the alias take."""
    for _ in range(12):
        with pytest.raises(error):
            await generate(mesh, alias)
    assert (await generate(mesh, "demo")).offline


async def generate(mesh: LocalMesh, alias: str) -> pb.GenerateResponse:
    question = pb.ChatMessage(user=pb.UserMessage(text="Hello"))
    prompt = pb.Prompt(model=alias, messages=[question])
    return await mesh.call(pb.ModelService.Generate, pb.GenerateRequest(prompt=prompt))
