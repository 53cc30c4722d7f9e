"""Records what a run does, over all executions of it."""

from dataclasses import dataclass, field
from typing import Any

from langgraph.types import StreamMode

from graphmesh_nodes.budget import NO_USAGE, Usage
from graphmesh_nodes.decisions import Decision
from graphmesh_nodes.errors import GraphmeshError
from graphmesh_nodes.model_text import model_text
from graphmesh_nodes.tool_calls import ToolCalled

STREAM_MODES: list[StreamMode] = ["tasks", "custom", "messages", "values"]
"""As the orchestrator streams graphs. With `messages`, chat models stream."""


@dataclass
class RunRecorder:
    """The events of one run, and how it has ended."""

    run_id: str
    input: Any
    deadline_seconds: float
    """The run's remaining time; it does not run while the run is parked."""
    context: Any = None
    epoch: int = 0
    usage: Usage = NO_USAGE
    nodes: list[str] = field(default_factory=list)
    task_nodes: dict[str, str] = field(default_factory=dict)
    tool_calls: list[ToolCalled] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    custom_events: list[Any] = field(default_factory=list)
    text: str = ""
    values: Any = None
    error: GraphmeshError | None = None
    answers: dict[str, Any] = field(default_factory=dict)
    """The answers to interrupts, by their ids."""

    def record(self, mode: str, part: Any, *, is_subgraph: bool) -> bool:
        """Record a part of the graph's stream; returns whether a node has begun."""
        match mode, part:
            case "tasks", {"triggers": _}:
                self.nodes.append(part["name"])
                self.task_nodes[part["id"]] = part["name"]
                return True
            case "custom", ToolCalled():
                self.tool_calls.append(part)
            case "custom", _:
                self.custom_events.append(part)
            case "messages", (message, metadata):
                self.text += model_text(message, metadata)
            case "values", _ if not is_subgraph:
                self.values = part
        return False
