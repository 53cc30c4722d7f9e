"""The stream of a graph keeps the order of its parts, and bounds those that wait for a large one."""

import asyncio
from collections.abc import Awaitable

import pytest
from graphmesh.orchestrator import v1 as pb
from graphmesh_nodes import RouteTaken, Validated
from graphmesh_nodes.errors import ValueNotStorable
from graphmesh_orchestrator.runs.event_contents import route_not_shown
from graphmesh_orchestrator.worker.event_bounds import MAX_PENDING_BYTES
from graphmesh_orchestrator.worker.graph_stream import ASYNC_FACTOR, GraphStream, Part

SIZE = 1_000_000


class Recorder:
    """Records parts; the first one when it is released."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.is_released = asyncio.Event()

    def __call__(self, part: Part) -> Awaitable[None] | None:
        if part.mode == "first":
            return self._when_released(part)
        self.parts.append(part)
        return None

    async def _when_released(self, part: Part) -> None:
        await self.is_released.wait()
        self.parts.append(part)


@pytest.mark.parametrize("mode", ["values", "tasks"])
async def test_parts_wait_in_order_and_optional_ones_within_bounds(mode: str) -> None:
    recorder = Recorder()
    async with GraphStream(recorder, lambda factor: False) as stream:
        stream.put(((), "first", None))
        for number in range(50):
            stream.put(((), mode, {"number": number, "text": "x" * SIZE}))
        recorder.is_released.set()
    first, *others = recorder.parts
    kept = [part for part in others if not part.is_left_out]
    assert (first.mode, len(others)) == ("first", 50)
    assert [part.value["number"] for part in kept] == list(range(len(kept)))
    assert len(kept) == (50 if mode == "tasks" else ASYNC_FACTOR * MAX_PENDING_BYTES // SIZE + 1)
    assert all(part.value is None for part in others if part.is_left_out)


async def test_part_that_cannot_be_recorded_ends_the_graph_with_its_error() -> None:
    def refuse(part: Part) -> None:
        raise ValueError("no")

    async def run() -> None:
        async with GraphStream(refuse, lambda factor: False) as stream:
            stream.put(((), "values", {}))
            await asyncio.sleep(600)

    with pytest.raises(ValueError, match="no"):
        await run()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_routes_have_no_values_where_there_is_no_room_and_checks_are_refused() -> None:
    """A route is no act of a node, which could wait, and ends no run."""
    recorder, taken = Recorder(), RouteTaken("draft", (), "after", ("send",), {"amount": "5"})
    async with GraphStream(recorder, lambda factor: factor == ASYNC_FACTOR) as stream:
        stream.decide(taken)
        with pytest.raises(ValueNotStorable, match="await between events"):
            stream.decide(Validated("draft", (), "tone"))
    [part] = recorder.parts
    assert part.is_left_out
    event = pb.RunEvent.FromString(route_not_shown(part.value, ": too many").encoded)
    assert event.route_taken == pb.RouteTaken(condition="after", destinations=["send"])
    assert event.not_shown == "route_taken.looked_at: too many"
