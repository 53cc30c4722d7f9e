"""Calls of tools as values, and the port that records them beside the graph's stream."""

from dataclasses import dataclass
from typing import Protocol

from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.errors import GraphmeshError


@dataclass(frozen=True)
class ToolCalled:
    """One call of a tool, all its attempts together; sent to the run's custom stream."""

    node: str
    tool: str
    effect_key: EffectKey
    """Empty for reads."""
    attempts: int
    seconds: float
    error: GraphmeshError | None
    namespace: tuple[str, ...] = ()
    """The subgraph of the node: the nodes around it, each with the id of its task."""

    @property
    def may_have_happened(self) -> bool:
        """Whether the call may have had its effect: it succeeded, or its outcome is open."""
        return self.error is None or self.error.may_have_happened


class CallRecorder(Protocol):
    """Records the calls of a run. LangGraph discards the stream of a node that is cancelled; a recorder does not."""

    async def effect_sending(self, node: str, namespace: tuple[str, ...], tool: str, key: EffectKey) -> None:
        """Record durably that an effect is about to be sent, so that it is known even if the process ends meanwhile.

        Raises:
            GraphmeshError: it cannot be recorded; the effect must not be sent.
        """

    def effect_not_sent(self, key: EffectKey) -> None:
        """Take back `effect_sending`: no attempt was made."""

    def call_ended(self, call: ToolCalled) -> None:
        """Record a call that has ended, or was cut off."""


class NoRecorder:
    """The recorder where a graph runs without an orchestrator."""

    async def effect_sending(self, node: str, namespace: tuple[str, ...], tool: str, key: EffectKey) -> None:
        """Record nothing."""

    def effect_not_sent(self, key: EffectKey) -> None:
        """Record nothing."""

    def call_ended(self, call: ToolCalled) -> None:
        """Record nothing."""
