"""An agent with the tools of another team: whatever dies and whenever, its actions are applied once and in order."""

import asyncio
import json
import random
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from graphmesh_contracts import Rpc
from graphmesh_contracts.service_handles import FOLDER_SETTING
from graphmesh_nodes.errors import RuleViolated
from graphmesh_nodes.testing import GraphHarness
from langchain_core.messages import AIMessage, ToolMessage

from tests.retail.contract import NAME, contract
from tests.retail.replay import Turn, calls_of, expected, script
from tests.retail.shop import WRITES, Data, Refused, new_shop, perform

QUESTION = {"messages": [{"role": "user", "content": "Please change my order."}]}
SEEDS = range(20)


@pytest.fixture(scope="module")
def retail(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The module of the agent, imported with the mesh's descriptor sets."""
    folder = tmp_path_factory.mktemp("contracts")
    (folder / f"{NAME}.binpb").write_bytes(contract())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_SETTING, str(folder))
        return import_module("tests.retail.agent")


def replayed(retail: ModuleType, turns: list[Any], dice: random.Random) -> tuple[GraphHarness, Data]:
    """A harness whose model takes the turns, and the shop that its twins keep, which take different times."""
    harness, shop = GraphHarness(retail.graph), new_shop()

    async def answer(rpc: Any, request: Any) -> Any:
        for _ in range(dice.randint(0, 20)):
            await asyncio.sleep(0)
        return _answer(rpc, shop, request)

    for method in (rpc for rpc in vars(retail.RetailService).values() if isinstance(rpc, Rpc)):
        harness.serve(method, partial(answer, method))
    harness.model_replies(lambda prompt: _reply(turns, sum(one.HasField("assistant") for one in prompt.messages)))
    return harness, shop


def _answer(rpc: Any, shop: Data, request: Any) -> Any:
    try:
        result = perform(shop, rpc.method, MessageToDict(request, preserving_proto_field_name=True))
    except Refused as error:
        raise RuleViolated(str(error), rule="shop") from error
    return rpc.response(user_id=result) if isinstance(result, str) else rpc.response(result=result)


def _reply(turns: list[Any], number: int) -> AIMessage | str:
    return _message(turns[number], number) if number < len(turns) else "Done."


def _message(turn: Turn, number: int) -> AIMessage:
    calls = [{"id": one, "name": name, "args": json.loads(text)} for one, name, text in calls_of(turn, number)]
    return AIMessage("", tool_calls=calls)


@pytest.mark.parametrize("seed", SEEDS)
async def test_actions_are_applied_once_and_in_order_though_the_worker_dies(retail: ModuleType, seed: int) -> None:
    turns, dice = script(seed), random.Random(seed)
    harness, shop = replayed(retail, turns, dice)
    expected_shop, succeeded = expected(turns)
    for tool in dice.sample(sorted(set(succeeded)), 2):
        harness.crash_in_call(getattr(retail.RetailService, tool), number=dice.randint(1, succeeded.count(tool)))
    harness.crash_after(dice.choice(["model", "tools"]))
    result = await harness.run(QUESTION)
    assert result.status == "success", result.error
    assert result.epoch > 1
    assert shop == expected_shop
    answers = [one for one in result.state["messages"] if isinstance(one, ToolMessage)]
    assert len(answers) == sum(map(len, turns))
    assert set(shop["log"]) <= WRITES.keys()
