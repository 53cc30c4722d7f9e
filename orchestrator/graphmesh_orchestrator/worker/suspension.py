"""Parks runs on the interrupts of their graphs, and prepares their threads before they begin or resume."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from graphmesh_chassis.large_values import convert_aside, is_large
from graphmesh_nodes.approval_terms import ApprovalTerms, approval_id
from graphmesh_nodes.breakpoints import breakpoint_of
from graphmesh_nodes.errors import ValueNotStorable
from graphmesh_nodes.json_values import JsonEncoder
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Interrupt as LangGraphInterrupt
from langgraph.types import StateSnapshot

from graphmesh_orchestrator.checkpoints import RETRY_SECONDS, retry_while_unavailable
from graphmesh_orchestrator.db.rows import InterruptRow
from graphmesh_orchestrator.interrupts.interrupts import PENDING, Interrupts
from graphmesh_orchestrator.registry import Graph
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.event_contents import Content, status_changed
from graphmesh_orchestrator.runs.run import Interrupt, Run
from graphmesh_orchestrator.runs.runs import Runs


class Suspension:
    """Reads interrupts and answers for executions. Methods wait while the database is unavailable."""

    retry_seconds = RETRY_SECONDS

    def __init__(self, interrupts: Interrupts, runs: Runs, saver: BaseCheckpointSaver[Any]) -> None:
        self._interrupts, self._runs, self._saver = interrupts, runs, saver

    @retry_while_unavailable
    async def answers(self, run: Run) -> Mapping[str, Any]:
        """Return the run's answers by interrupt."""
        return await self._interrupts.answers(run.run_id)

    async def interrupts_of(
        self, run: Run, graph: Graph, config: RunnableConfig
    ) -> tuple[Content, Sequence[InterruptRow]] | None:
        """Return the event with the interrupts at the newest checkpoint of the run's thread, and the rows of them.

        None where there are none.

        Raises:
            ValueNotStorable: as `to_json`, with the node; the bounds are for all of them together.
        """
        state: StateSnapshot = await graph.compiled.aget_state(config)
        open_ones = [(task.name, interrupt) for task in state.tasks for interrupt in task.interrupts]
        if question := breakpoint_of(state):
            open_ones.append((state.next[0], question))
        if not open_ones:
            return None
        has_large = is_large([interrupt.value for _, interrupt in open_ones])
        interrupts, content = await convert_aside(has_large, _encoded, run, open_ones)
        checkpoint_id = state.config["configurable"]["checkpoint_id"]
        return content, [_row(run, interrupt, checkpoint_id) for interrupt in interrupts]

    @retry_while_unavailable
    async def revert_rolled_back(self, run: Run) -> None:
        """Delete the writes of rolled back runs on the thread, which the run holds by now.

        The run that requested the rollback may have been cancelled before its turn, so any run does this.
        """
        if not run.identity.created_thread and (others := await self._runs.rolled_back(run)):
            await self._saver.adelete_for_runs(others)
            await self._runs.mark_reverted(others)


def _encoded(run: Run, open_ones: Sequence[tuple[str, LangGraphInterrupt]]) -> tuple[Sequence[Interrupt], Content]:
    """Return interrupts with JSON values, and the event that has them all."""
    encoder, interrupts = JsonEncoder(), []
    for node, interrupt in open_ones:
        try:
            interrupts.append(_interrupt(run, interrupt.id, node, encoder.to_json(interrupt.value)))
        except ValueNotStorable as error:
            error.locate(node=node)
            raise
    return interrupts, status_changed(RunStatus.INTERRUPTED, interrupts=interrupts)


def _interrupt(run: Run, interrupt_id: str, node: str, value: Any) -> Interrupt:
    terms = ApprovalTerms.from_interrupt(value)
    return Interrupt(interrupt_id, node, value, approval_id(run.run_id, interrupt_id) if terms else "")


def _row(run: Run, interrupt: Interrupt, checkpoint_id: str) -> InterruptRow:
    terms = ApprovalTerms.from_interrupt(interrupt.value)
    return {
        "run_id": run.run_id,
        "interrupt_id": interrupt.interrupt_id,
        "tenant": run.identity.tenant,
        "node": interrupt.node,
        "value": interrupt.value,
        "created": datetime.now(UTC),
        "status": PENDING,
        "answer": None,
        "answered": None,
        "answered_by": "",
        "comment": "",
        "approval_id": interrupt.approval_id or None,
        "approval": {**vars(terms), "checkpoint_id": checkpoint_id} if terms else None,
        "ttl": terms.ttl if terms else 0,
    }
