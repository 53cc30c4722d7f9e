"""Names the node that blocks the event loop, while it does: all calls and runs of the process wait for it."""

import asyncio
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import structlog
from langchain_core.runnables.config import var_child_runnable_config

from graphmesh_orchestrator.leases.in_flight import InFlight
from graphmesh_orchestrator.worker.graph_exits import context_of
from graphmesh_orchestrator.worker.node_threads import CURRENT_RUN

log = structlog.get_logger("graphmesh.runs")

BLOCKED = "node blocks the event loop"
"""The event in the log. Its fields are empty where the code belongs to no run."""
STACK = 8
"""The innermost frames in the report of a block."""


@dataclass(frozen=True)
class WatchIntervals:
    """In seconds."""

    beat: float = 0.1
    """How often the event loop shows that it is not blocked, and the watcher reads that."""
    blocked: float = 0.5
    """After so long without, a block is reported, once."""


DEFAULT = WatchIntervals()


class LoopWatcher:
    """Watches the event loop from a thread. It sees no code that keeps the interpreter's lock in one call."""

    def __init__(self, in_flight: InFlight, intervals: WatchIntervals = DEFAULT) -> None:
        self._in_flight, self._intervals = in_flight, intervals
        self._beat = self._reported = 0.0

    async def run(self) -> None:
        """Watch the running loop until cancelled."""
        stopped = threading.Event()
        self._beat = time.monotonic()
        watched = asyncio.get_running_loop(), threading.get_ident(), stopped
        watching = threading.Thread(target=self._watch, args=watched, name="event loop watcher", daemon=True)
        watching.start()
        try:
            while True:
                self._beat = time.monotonic()
                await asyncio.sleep(self._intervals.beat)
        finally:
            stopped.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, thread_id: int, stopped: threading.Event) -> None:
        while not stopped.wait(self._intervals.beat):
            beat = self._beat
            seconds = time.monotonic() - beat - self._intervals.beat
            if seconds < self._intervals.blocked or beat == self._reported:
                continue
            self._reported = beat
            run_id, node = _blocking(loop)
            self._report(run_id, node, seconds, list(_outward(sys._current_frames().get(thread_id))))

    def _report(self, run_id: str, node: str, seconds: float, frames: Sequence[FrameType]) -> None:
        names = [f"{Path(one.f_code.co_filename).name}:{one.f_lineno} {one.f_code.co_name}" for one in frames[:STACK]]
        graph = self._in_flight.graph_of(run_id)
        log.warning(BLOCKED, graph=graph, run=run_id, node=node, seconds=round(seconds, 1), frames=names)


def _blocking(loop: asyncio.AbstractEventLoop) -> tuple[str, str]:
    """Return the run and the node of the task that a loop executes; empty where it belongs to none."""
    context = context_of(asyncio.current_task(loop))
    if context is None:
        return "", ""
    metadata = (context.get(var_child_runnable_config) or {}).get("metadata") or {}
    run_id = context.get(CURRENT_RUN, "").partition("/")[0]  # without its epoch
    return run_id, metadata.get("langgraph_node", "")


def _outward(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
