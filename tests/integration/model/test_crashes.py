"""A model service that is killed between the reservation of an attempt and its settlement."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from graphmesh.model import v1 as pb
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.database import open_database
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import BudgetExceeded, GraphmeshError
from graphmesh_local.child_process import reserve_port
from graphmesh_model.__main__ import MIGRATIONS
from graphmesh_model.accounting.ledger_sql import SqlLedger
from graphmesh_model.settings import Settings

from tests.integration.model.served import running_models
from tests.integration.model.vendor_server import Reply, VendorServer, always, openai

BUDGET = 1000
PROMPT = pb.Prompt(messages=[pb.ChatMessage(user=pb.UserMessage(text="How are you?"))], max_output_tokens=300)


async def generate(channel: Channel, seconds: float) -> pb.GenerateResponse:
    return await channel.unary(
        pb.ModelService.Generate,
        pb.GenerateRequest(prompt=PROMPT),
        deadline=Deadline.after(seconds),
        headers=[(metadata.TENANT, "shop")],
    )


async def budget(channel: Channel) -> pb.BudgetStatus:
    headers = [(metadata.TENANT, "shop"), (metadata.SCOPES, "model.usage.read")]
    request = pb.ListBudgetsRequest()
    listed = await channel.unary(pb.ModelService.ListBudgets, request, deadline=Deadline.after(60), headers=headers)
    return listed.budgets[0]


def service(address: str, **settings: str) -> subprocess.Popen[bytes]:
    own = {f"GRAPHMESH_MODEL_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "graphmesh_model", "--listen", address]
    return subprocess.Popen(command, env={**os.environ, **own}, stdout=subprocess.DEVNULL)


async def test_attempt_of_a_killed_service_is_charged_once(tmp_path: Path) -> None:
    """Until it has expired its reservation holds, so that nothing is spent twice; then it is charged in full."""
    url = f"sqlite+aiosqlite:///{tmp_path}/model.db"
    async with VendorServer(always(Reply(then="stall")), openai("Fine.")).serving() as vendor:
        price = {"input_micro_usd": 1_000_000, "output_micro_usd": 2_000_000}
        models = {"default": {"model": "openai:large", "base_url": vendor.url, "price": price}}
        budgets = {"trial": {"scope": "tenant", "period": "total", "max_cost_micro_usd": BUDGET}}
        address = f"127.0.0.1:{reserve_port()}"
        with service(address, models=json.dumps(models), budgets=json.dumps(budgets), database_url=url) as process:
            async with Channel(address) as channel:
                calling = asyncio.create_task(_until_called(channel, vendor))
                async with asyncio.timeout(60):
                    while not vendor.requests:
                        assert process.poll() is None
                        await asyncio.sleep(0.02)
                process.kill()
                process.wait()
                with pytest.raises(GraphmeshError):
                    await calling
        async with open_database(url, MIGRATIONS) as database, open_database(url, MIGRATIONS) as other:
            ledgers = SqlLedger(database), SqlLedger(other)
            settings = Settings.model_validate({"models": models, "budgets": budgets})
            async with running_models(settings, ledgers[0]) as served:
                held = await budget(served.channel)
                assert (held.spent_cost_micro_usd, held.reserved_cost_micro_usd > BUDGET // 2) == (0, True)
                with pytest.raises(BudgetExceeded):
                    await generate(served.channel, 60)
                later = datetime.now(UTC) + timedelta(minutes=10)
                await asyncio.gather(*(ledger.expire(later) for ledger in ledgers * 2))
                charged = await budget(served.channel)
                assert charged.spent_cost_micro_usd == held.reserved_cost_micro_usd
                assert charged.reserved_cost_micro_usd == 0
                with pytest.raises(BudgetExceeded):
                    await generate(served.channel, 60)
    assert len(vendor.requests) == 1


async def _until_called(channel: Channel, vendor: VendorServer) -> None:
    """Call until the service has started and calls the vendor."""
    while True:
        try:
            await generate(channel, 60)
        except GraphmeshError:
            if vendor.requests:
                raise
            await asyncio.sleep(0.05)
