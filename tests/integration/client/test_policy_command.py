"""`graphmesh policy` of agents: shows, sets and resets what replaces their defaults, and what changes."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

from tests.integration.client.test_command_line import CONSOLE
from tests.integration.orchestrator.mesh import Mesh, serve_billing, serve_orchestrator

AGENT = """
from graphmesh_nodes import declare
from langgraph.graph import START, StateGraph
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

class Tone(BaseModel):
    model_config = ConfigDict(extra="forbid")
    formal: bool
    words: list[str] = []

class Policy(BaseModel):
    model_config = ConfigDict(extra="forbid")
    days: int = Field(ge=1)
    tone: Tone

class State(TypedDict, total=False):
    name: str

graph = StateGraph(State)
graph.add_node("node", lambda state: state)
graph.add_edge(START, "node")
declare(graph, tools=(), policy=Policy)
"""


async def policy(mesh: Mesh, *words: str, exits: int = 0) -> str:
    command = (sys.executable, "-m", "graphmesh_cli", "policy", *words, "--edge", mesh.address, "--tenant", mesh.tenant)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT, env={**os.environ, **CONSOLE})
    output, _ = await process.communicate()
    assert process.returncode == exits, output.decode()
    return output.decode()


async def test_sets_resets_and_shows_what_changes(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    file = tmp_path / "policy.json"
    async with serve_billing(tmp_path) as billing, serve_orchestrator(tmp_path, billing) as mesh:
        assert await policy(mesh, "show", "agent") == "agent has the default policy\n"
        file.write_text('{"days": 3, "tone": {"formal": true}}')
        changes = await policy(mesh, "set", "agent", str(file))
        assert changes == "days: the agent's default → 3\ntone.formal: the agent's default → true\n"
        assert json.loads(await policy(mesh, "show", "agent", "--json")) == json.loads(file.read_text())
        assert await policy(mesh, "set", "agent", str(file)) == "nothing changes\n"
        file.write_text('{"days": 5, "tone": {"formal": true, "words": ["a"]}}')
        changed = json.loads(await policy(mesh, "set", "agent", str(file), "--json"))
        assert (changed["before"]["days"], changed["after"]["days"]) == (3, 5)
        for broken, field in (
            ('{"days": 0}', "value.days: Input should be greater than or equal to 1"),
            ('{"dais": 1}', "value.dais: is none of days, tone"),
            ('{"tone": {"formal": true, "word": 1}}', "value.tone.word: Extra inputs are not permitted"),
        ):
            file.write_text(broken)
            assert f"INVALID_REQUEST: {field}" in await policy(mesh, "set", "agent", str(file), exits=1)
        assert "days: 5 → the agent's default" in await policy(mesh, "reset", "agent")
        assert await policy(mesh, "reset", "agent") == "nothing changes\n"
        async with mesh.as_new_tenant() as other:
            assert await policy(other, "show", "agent") == "agent has the default policy\n"
        assert "there are: refunds, tickets, agent" in await policy(mesh, "show", "pay", exits=2)
        assert "has no default to return to" in await policy(mesh, "reset", "refunds", exits=2)
        assert "is no JSON object" in await policy(mesh, "set", "agent", str(tmp_path / "agent.py"), exits=2)
