"""The result of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from graphmesh_nodes.budget import Usage
from graphmesh_nodes.decisions import Decision
from graphmesh_nodes.errors import GraphmeshError
from graphmesh_nodes.testing.errors import RunNotSuccessful
from graphmesh_nodes.tool_calls import ToolCalled


@dataclass(frozen=True)
class Question:
    """An interrupt that waits for an answer."""

    interrupt_id: str
    node: str
    value: Any


@dataclass(frozen=True)
class PendingApproval:
    """An approval request that waits for an approver."""

    approval_id: str
    interrupt_id: str
    node: str
    tool: str
    arguments: Mapping[str, Any]
    """The request, as JSON."""
    digest: str
    """SHA-256 of tool and request, in hex."""
    question: str
    scopes: Sequence[str]
    """The scopes that the approver needs."""
    four_eyes: bool
    """Whether the approver has to be another one than the subject of the harness."""
    expires: datetime


@dataclass(frozen=True)
class RunResult:
    """A run that has ended or is parked, with all that it has done since it was created."""

    status: Literal["success", "interrupted", "error"]
    state: Mapping[str, Any]
    """The values of the newest checkpoint."""
    approvals: Sequence[PendingApproval]
    questions: Sequence[Question]
    error: GraphmeshError | None
    """The error that has ended the run."""
    nodes: Sequence[str]
    """The nodes in the order in which they began; also those that began again."""
    tool_calls: Sequence[ToolCalled]
    decisions: Sequence[Decision]
    """The branches of conditional edges with what they looked at, results of checks, and escalations, in order."""
    custom_events: Sequence[Any]
    """Everything else that nodes have written to the custom stream."""
    text: str
    """The text that models have streamed."""
    usage: Usage
    epoch: int
    """1, and one more for each resumption and each crash."""
    values: Mapping[str, Any] | None = None

    @property
    def output(self) -> Mapping[str, Any]:
        """The output of the graph.

        Raises:
            RunNotSuccessful: the run has failed or is interrupted.
        """
        if self.status == "success":
            return self.values or {}
        waits = [*self.approvals, *self.questions]
        raise RunNotSuccessful(f"the run has no output, it is {self.status}: {self.error or waits}") from self.error
