"""Functional workflows of LangGraph run as graphs do."""

from pathlib import Path

import pytest
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import InvalidInput
from graphmesh_contracts import struct_value

from tests.integration.orchestrator.mesh import Mesh, serve_billing, serve_orchestrator

INTERRUPTED, SUCCESS = pb.RunStatus.RUN_STATUS_INTERRUPTED, pb.RunStatus.RUN_STATUS_SUCCESS
TEXT = """
from langgraph.func import entrypoint, task
from langgraph.types import interrupt

@task
async def shout(topic: str) -> str:
    return topic.upper()

@entrypoint()
async def graph(topic: str, *, previous: str | None = None) -> str:
    loud = await shout(topic)
    mark = interrupt("which mark?")
    return f"{previous or ''}{loud}{mark}"
"""
OBJECT = """
from langgraph.func import entrypoint
from typing_extensions import TypedDict

class Order(TypedDict):
    amount: int

@entrypoint()
def graph(order: Order) -> dict:
    return {"twice": 2 * order["amount"]}
"""


RETURNING = """
from dataclasses import dataclass
from langgraph.func import entrypoint
from pydantic import BaseModel

class Report(BaseModel):
    topic: str

@dataclass
class Pair:
    report: Report

@entrypoint()
def graph(topic: str):
    return Pair(Report(topic=topic)) if topic == "pair" else Report(topic=topic) if topic != "list" else [topic]
"""
OUTPUTS = {"model": {"topic": "model"}, "pair": {"report": {"topic": "pair"}}, "list": {"value": ["list"]}}


async def test_result_that_is_an_object_is_the_output(tmp_path: Path) -> None:
    """In the run, its values and the state of its thread."""
    (tmp_path / "returning.py").write_text(RETURNING)
    modes = [pb.StreamMode.STREAM_MODE_VALUES]
    async with serve_billing(tmp_path) as billing, serve_orchestrator(tmp_path, billing) as mesh:
        for topic, output in OUTPUTS.items():
            begun = await mesh.client.create_run("returning", {"topic": topic}, stream_modes=modes)
            run = await mesh.wait(begun)
            state = await mesh.client.threads.state(run.thread_id)
            values = [event.values for event in await mesh.events(run) if event.HasField("values")]
            assert [struct_value(one) for one in (run.output, state.values, values[-1])] == [output] * 3


async def test_workflow_parks_resumes_and_remembers(tmp_path: Path) -> None:
    """Also in another process; tasks have events as nodes have, and the next run has the result of the last."""
    (tmp_path / "text.py").write_text(TEXT)
    async with serve_billing(tmp_path) as billing:
        async with serve_orchestrator(tmp_path, billing) as mesh:
            run = await mesh.wait(await mesh.create("text", {"topic": "cats"}, thread_id="th"))
            assert run.status == INTERRUPTED
        async with serve_orchestrator(tmp_path, billing) as mesh:
            ended = await answered(mesh, run)
            assert (ended.status, struct_value(ended.output)) == (SUCCESS, {"value": "CATS!"})
            finished = [event for event in await mesh.events(run) if event.HasField("node_finished")]
            assert {event.node for event in finished} == {"shout", "graph"}
            assert struct_value(finished[0].node_finished.update) == {"value": "CATS"}
            again = await mesh.wait(await mesh.create("text", {"topic": "dogs"}, thread_id="th"))
            assert struct_value((await answered(mesh, again)).output) == {"value": "CATS!DOGS!"}
            state = await mesh.client.threads.state("th")
            assert struct_value(state.values) == {"value": "CATS!DOGS!"}
            with pytest.raises(InvalidInput, match="whose state has no fields"):
                await mesh.client.threads.update_state("th", {"value": "x"})


async def test_workflow_takes_an_object(tmp_path: Path) -> None:
    (tmp_path / "order.py").write_text(OBJECT)
    async with serve_billing(tmp_path) as billing, serve_orchestrator(tmp_path, billing) as mesh:
        ended = await mesh.run("order", amount=4)
        assert struct_value(ended.output) == {"twice": 8}
        with pytest.raises(InvalidInput) as refused:
            await mesh.client.create_run("order", {"amount": "four"})
        assert [violation.field for violation in refused.value.violations] == ["input.amount"]


async def test_other_inputs_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.py").write_text(TEXT)
    async with serve_billing(tmp_path) as billing, serve_orchestrator(tmp_path, billing) as mesh:
        with pytest.raises(InvalidInput) as refused:
            await mesh.client.create_run("text", {"theme": "cats"})
        assert {violation.field for violation in refused.value.violations} == {"input.theme", "input.topic"}


async def answered(mesh: Mesh, run: pb.Run) -> pb.Run:
    [question] = run.interrupts
    await mesh.resume(run, {question.interrupt_id: "!"})
    return await mesh.wait(run)
