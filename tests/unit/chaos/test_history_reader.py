"""The reader of the history makes events of rows with none of the code that wrote them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from graphmesh_chaos.history import Event
from graphmesh_chaos.history_reader import events_in
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.errors import ConnectionLost, NotFound
from graphmesh_nodes.tool_calls import ToolCalled
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.event_contents import node_started, status_changed, tool_called

from tests.contract.stored_events import rows_of

NOW = datetime(2026, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)
KEY = EffectKey("k" * 64)


def call(error: Any = None) -> ToolCalled:
    return ToolCalled("charge", "billing.Charge", KEY, 1, 0.1, error)


def test_events_are_read_as_they_were_written() -> None:
    contents = [
        status_changed(RunStatus.RUNNING, epoch=1),
        node_started(["x"]),
        tool_called(call()),
        tool_called(call(ConnectionLost())),
        tool_called(call(NotFound(resource="invoice", id="in_1"))),
        status_changed(RunStatus.SUCCESS),
    ]
    [row] = rows_of("run-1", 7, NOW, *contents, node="charge")
    assert list(events_in(dict(row))) == [
        Event("run-1", 7, NOW, RunStatus.RUNNING, node="charge"),
        Event("run-1", 8, NOW, None, node="charge", is_node_start=True),
        Event("run-1", 9, NOW, None, KEY, has_response=True, node="charge"),
        Event("run-1", 10, NOW, None, KEY, node="charge"),
        Event("run-1", 11, NOW, None, node="charge"),
        Event("run-1", 12, NOW, RunStatus.SUCCESS, node="charge"),
    ]


@pytest.mark.parametrize(
    "changed", [{"last_seq": 3}, {"kinds": b"\x05\x05"}, {"kinds": b"\x04"}, {"kinds": b"\x04\x05\x05"}]
)
def test_rows_that_state_other_numbers_or_kinds_are_found(changed: dict[str, Any]) -> None:
    [row] = rows_of("run-1", 1, NOW, status_changed(RunStatus.RUNNING), node_started([]))
    assert all(event.is_indexed for event in events_in(dict(row)))
    assert not all(event.is_indexed for event in events_in({**row, **changed}))
