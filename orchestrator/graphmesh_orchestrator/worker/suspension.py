"""Parking a run on what its graph asks, and going on with the answers (B8)."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from graphmesh_nodes.approval_terms import Terms, approval_id
from graphmesh_nodes.json_values import plain
from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from graphmesh_orchestrator.checkpoints import LogSaver, patient
from graphmesh_orchestrator.interrupts.interrupts_sql import PENDING, SqlInterrupts
from graphmesh_orchestrator.registry import Graph
from graphmesh_orchestrator.runs.run import Interrupt, Run
from graphmesh_orchestrator.runs.runs_sql import SqlRuns


class Parking:
    """What an execution needs of the rows of parked and rolled back runs."""

    def __init__(self, interrupts: SqlInterrupts, runs: SqlRuns, saver: LogSaver) -> None:
        self._interrupts, self._runs, self._saver = interrupts, runs, saver

    @patient
    async def answers(self, run: Run) -> dict[str, Any]:
        """The answers that the run has got, by interrupt."""
        return await self._interrupts.answers(run.run_id)

    async def asked(
        self, run: Run, graph: Graph, config: RunnableConfig
    ) -> tuple[Sequence[Interrupt], Sequence[dict[str, Any]]]:
        """What the graph asks at the newest checkpoint of the run's thread, and the rows in which it waits for
        answers."""
        state: StateSnapshot = await graph.compiled.aget_state(config)
        asked = [
            _interrupt(run, one.id, task.name, plain(one.value)) for task in state.tasks for one in task.interrupts
        ]
        checkpoint_id = state.config["configurable"]["checkpoint_id"]
        return asked, [{**_row(run, one), **_approval(one, checkpoint_id)} for one in asked]

    @patient
    async def take_back(self, run: Run) -> None:
        """Delete what runs wrote to the thread that are rolled back. The run has the thread by now.

        It need not be the one that asked for it: that may have been cancelled before its turn.
        """
        if not run.made_its_thread and (others := await self._runs.rolled_back(run)):
            await self._saver.adelete_for_runs(others)
            await self._runs.taken_back(others)


def _interrupt(run: Run, interrupt_id: str, node: str, value: Any) -> Interrupt:
    return Interrupt(interrupt_id, node, value, approval_id(run.run_id, interrupt_id) if Terms.of(value) else "")


def _approval(asked: Interrupt, checkpoint_id: str) -> dict[str, Any]:
    """The columns of an approval."""
    terms = Terms.of(asked.value)
    if terms is None:
        return {"approval_id": None, "approval": None, "expires": 0}
    return {
        "approval_id": asked.approval_id,
        "approval": {**asdict(terms), "checkpoint_id": checkpoint_id},
        "expires": time.time() + terms.ttl,
    }


def _row(run: Run, asked: Interrupt) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "interrupt_id": asked.interrupt_id,
        "tenant": run.tenant,
        "node": asked.node,
        "value": asked.value,
        "created": datetime.now(UTC),
        "status": PENDING,
        "answer": None,
        "answered": None,
        "answered_by": "",
        "comment": "",
    }
