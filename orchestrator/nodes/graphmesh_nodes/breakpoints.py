"""Breakpoints: LangGraph's `interrupt_before` and `interrupt_after`, as questions that park a run.

LangGraph stops at a breakpoint without an interrupt that an answer could name, and passes it whenever it resumes. So
each stop has an interrupt of its own, and a graph that resumes stays where no answer has the interrupt's id: otherwise
the death of a worker between the stop and its record would pass the breakpoint.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from graphmesh_contracts.keys import BREAKPOINT_KEY
from langgraph.pregel import Pregel
from langgraph.types import Interrupt, StateSnapshot

STOPPED_AT = "graphmesh_stopped_at"
"""The key in the metadata of an update's checkpoint that has the checkpoint at which the graph has stopped: an update
at a breakpoint leaves its question as it is."""
Nodes = Literal["*"] | Sequence[str]


@dataclass(frozen=True)
class Breakpoints:
    """The nodes before and after which a run stops; "*": all."""

    before: Nodes = ()
    after: Nodes = ()

    @classmethod
    def of(
        cls, graph: Pregel[Any, Any, Any, Any], before: Sequence[str] = (), after: Sequence[str] = ()
    ) -> "Breakpoints":
        """Return the graph's own breakpoints with further ones."""
        return cls(_joined(graph.interrupt_before_nodes, before), _joined(graph.interrupt_after_nodes, after))

    def __bool__(self) -> bool:
        return bool(self.before or self.after)

    async def stops(self, graph: Pregel[Any, Any, Any, Any], state: StateSnapshot) -> bool:
        """Whether a graph that resumes from the state has to stop there, unless that was answered."""
        if _hits(self.before, state.next):
            return True
        if not self.after or not state.next or state.parent_config is None:
            return False
        return _hits(self.after, (await graph.aget_state(state.parent_config)).next)


def breakpoint_of(state: StateSnapshot) -> Interrupt | None:
    """Return the question of a graph that has stopped at a breakpoint; None where it waits for something else."""
    if not state.next or state.interrupts:
        return None
    interrupt_id = hashlib.sha256(stopped_at(state).encode()).hexdigest()[:32]
    return Interrupt(value={BREAKPOINT_KEY: list(state.next)}, id=interrupt_id)


def stopped_at(state: StateSnapshot) -> str:
    """Return the checkpoint at which a graph has stopped, before the updates of its state since then."""
    return str((state.metadata or {}).get(STOPPED_AT) or state.config["configurable"]["checkpoint_id"])


def _joined(own: Nodes, further: Sequence[str]) -> Nodes:
    return "*" if own == "*" or "*" in further else (*own, *further)


def _hits(nodes: Nodes, executed: Sequence[str]) -> bool:
    return bool(executed) and (nodes == "*" or any(node in nodes for node in executed))
