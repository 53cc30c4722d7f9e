"""`graphmesh usage` against a running service."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from graphmesh.model import v1 as pb
from graphmesh_chassis import metadata
from graphmesh_chassis.deadline import Deadline
from graphmesh_cli.app import app
from graphmesh_model.settings import Settings

from tests.integration.model.served import running_models
from tests.integration.orchestrator.mesh import serve_billing, serve_orchestrator

BUDGETS = {"trial": {"scope": "tenant", "period": "day", "max_tokens": 5000}}


async def command(*words: str) -> int:
    """Run the command in a thread, since it has an event loop of its own, and return its exit code."""

    def run() -> Any:
        with pytest.raises(SystemExit) as ended:
            app(["usage", *words])
        return ended.value.code

    return int(await asyncio.to_thread(run) or 0)


async def test_shows_usage_and_budgets(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings.model_validate({"budgets": BUDGETS})
    async with running_models(settings) as served:
        prompt = pb.Prompt(messages=[pb.ChatMessage(user=pb.UserMessage(text="Hello"))])
        await served.channel.unary(
            pb.ModelService.Generate,
            pb.GenerateRequest(prompt=prompt),
            deadline=Deadline.after(60),
            headers=[(metadata.RUN, "run_1")],
        )
        capsys.readouterr()
        assert await command("--by", "run,alias", "--address", served.address) == 0
        assert "run_1  default  1" in capsys.readouterr().out
        assert await command("--by", "run", "--json", "--address", served.address) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [json.loads(line)["attempts"] for line in lines if line.startswith("{")] == ["1"]
        assert await command("--budgets", "--address", served.address) == 0
        assert "0 of 5000" in capsys.readouterr().out
        assert await command("--by", "week", "--address", served.address) == 2
        assert "week is none of tenant, day, run, alias, model" in capsys.readouterr().err


async def test_shows_budgets_of_runs_beside_those_of_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of runs are the edge's, which an address of models alone does not state."""
    settings = Settings.model_validate({"budgets": BUDGETS})
    limits = {"runs a day": {"max_steps": 50, "max_effects": 4}}
    async with (
        running_models(settings) as served,
        serve_billing(tmp_path) as billing,
        serve_orchestrator(tmp_path, billing, budgets=limits) as mesh,
    ):
        await mesh.run("thinking", name="x")
        capsys.readouterr()
        edge = ("--edge", f"http://{mesh.address}")
        assert await command("--budgets", "--address", served.address, *edge) == 0
        shown = capsys.readouterr().out
        assert "0 of 5000" in shown
        [line] = [line for line in shown.splitlines() if line.startswith("runs a day")]
        assert re.split(r"  +", line)[:5] == ["runs a day", "3 of 50", "0 of 4", "0.001500", "300"]
        assert await command("--budgets", "--address", served.address) == 0
        assert "runs a day" not in capsys.readouterr().out
