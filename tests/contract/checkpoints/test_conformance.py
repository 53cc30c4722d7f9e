"""LangGraph's own conformance tests, for every capability, on both databases."""

from collections.abc import AsyncIterator

import pytest
from graphmesh_orchestrator.checkpoints import LogSaver
from langgraph.checkpoint.conformance import validate
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph.checkpoint.conformance.initializer import RegisteredCheckpointer


@pytest.mark.parametrize("capability", [capability.value for capability in Capability])
async def test_capability(saver: LogSaver, capability: str) -> None:
    """The saver has the capability, and passes its tests."""

    async def factory() -> AsyncIterator[LogSaver]:
        yield saver

    report = await validate(RegisteredCheckpointer("LogSaver", factory), capabilities={capability})  # type: ignore[arg-type]
    result = report.results[capability]
    assert result.detected
    assert result.failures == []
    assert result.tests_passed > 0
