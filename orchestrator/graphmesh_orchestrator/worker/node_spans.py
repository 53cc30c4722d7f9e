"""The span of each node that is executed, around all that its code does; in runs whose trace is sampled."""

from contextlib import AbstractContextManager
from typing import Any

from graphmesh_chassis.telemetry import names, spans
from graphmesh_chassis.telemetry.sampling import is_traced
from graphmesh_chassis.telemetry.spans import Attributes, Span
from graphmesh_nodes.context import CONTEXT_KEY, RunContext
from graphmesh_nodes.decisions import Decision, RouteTaken
from langgraph.constants import TAG_HIDDEN
from langgraph.errors import GraphBubbleUp
from langgraph.pregel import _runner
from langgraph.pregel._retry import arun_with_retry, run_with_retry
from langgraph.types import PregelExecutableTask

_own_arun, _own_run = arun_with_retry, run_with_retry


def trace_nodes() -> None:
    """Write the spans of the nodes in this process, by replacing LangGraph's private execution of one."""
    _runner.arun_with_retry = _arun  # type: ignore[attr-defined]
    _runner.run_with_retry = _run  # type: ignore[attr-defined]


async def _arun(task: PregelExecutableTask, *args: Any, **options: Any) -> Any:
    if not is_traced() or (node := _node_span(task)) is None:
        return await _own_arun(task, *args, **options)
    with node as span:
        try:
            return await _own_arun(task, *args, **options)
        except GraphBubbleUp as signal:
            bubbled = _left_by(span, signal)
    raise bubbled


def _run(task: PregelExecutableTask, *args: Any, **options: Any) -> Any:
    if not is_traced() or (node := _node_span(task)) is None:
        return _own_run(task, *args, **options)
    with node as span:
        try:
            return _own_run(task, *args, **options)
        except GraphBubbleUp as signal:
            bubbled = _left_by(span, signal)
    raise bubbled


def _left_by(span: Span, signal: GraphBubbleUp) -> GraphBubbleUp:
    """State how a node is left that waits for an answer, or hands over to the graph around: neither is an error."""
    span.set({names.END: type(signal).__name__})
    return signal


def _node_span(task: PregelExecutableTask) -> AbstractContextManager[Span] | None:
    """Return the span of a task; None outside of runs, and for what LangGraph executes itself."""
    config = task.config or {}
    context: RunContext | None = config.get("configurable", {}).get(CONTEXT_KEY)
    if context is None or TAG_HIDDEN in (config.get("tags") or ()):
        return None
    attributes: Attributes = {
        names.RUN: context.run_id,
        names.EPOCH: context.epoch,
        names.NODE: task.name,
        names.STEP: config.get("metadata", {}).get("langgraph_step", 0),
    }
    own = spans.derived(spans.present(), context.run_id, str(context.epoch), task.id)
    return spans.span(f"node {task.name}", attributes=attributes, own=own)


def write_decision(decision: Decision) -> None:
    """Write the span of a route below that of its node, in which this is called."""
    if isinstance(decision, RouteTaken):
        route = {names.ROUTE: ", ".join(decision.destinations), names.TRIGGER: decision.trigger}
        with spans.span("route", attributes=route):
            pass
