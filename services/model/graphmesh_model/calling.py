"""The call that answers are made for."""

from dataclasses import dataclass, field

from graphmesh_chassis.deadline import Deadline

from graphmesh_model.domain import Attempt
from graphmesh_model.similar_prompts import Question


@dataclass(frozen=True)
class RunLimits:
    """The most that the run of a call may use of models; 0: no limit."""

    max_cost: int = 0
    """In millionths of a US dollar."""
    max_tokens: int = 0


@dataclass(frozen=True)
class ModelCall:
    """One call of this service."""

    deadline: Deadline
    tenant: str = "default"
    run: str = ""
    limits: RunLimits = RunLimits()
    streamed: bool = False
    prompt: bytes = b""
    """The serialized prompt, by which its answer is cached."""
    question: Question | None = None
    """The question of the prompt, where answers to similar ones may be shared."""
    failed: list[Attempt] = field(default_factory=list)
    """Its attempts without a usable answer, as they end."""
