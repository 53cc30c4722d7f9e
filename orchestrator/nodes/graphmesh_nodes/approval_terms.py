"""Approvals as values: the terms that a graph asks approval for, and the decision."""

import hashlib
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


MARK = "graphmesh.approval"
"""The one key of the question and of the answer, by which both are known among those of other interrupts. Answers with
it come from this package alone: ResumeRun refuses them."""


class ApprovalStatus(StrEnum):
    """Where an approval stands."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    """Denied, because nobody has answered in time."""
    VOID = "void"
    """The run has ended before anybody answered."""


@dataclass(frozen=True)
class Terms:
    """What a person is to agree to: one call of a tool, and no other."""

    tool: str
    arguments: dict[str, Any]
    digest: str
    """SHA-256 of tool and request, in hex."""
    question: str
    scopes: list[str]
    """What who answers needs, all of it."""
    ttl: float
    """Seconds until it is denied, from when the run parks."""

    def asked(self) -> dict[str, Any]:
        """As the value of an interrupt."""
        return {MARK: asdict(self)}

    @classmethod
    def of(cls, value: Any) -> "Terms | None":
        """The terms that an interrupt's value asks for; None where it is another question."""
        return _marked(_TERMS, value)


@dataclass(frozen=True)
class Decision:
    """What was answered, as the node is told it."""

    approval_id: str
    digest: str
    """Of what was asked."""
    status: ApprovalStatus
    by: str
    comment: str
    epoch: int
    """In which the run has parked: no earlier one than the next can have made the call."""
    thread_id: str = ""
    """On which it was asked. A fork of the thread may have the answer too, and may not use it."""

    def answer(self) -> dict[str, Any]:
        """As the answer to an interrupt."""
        return {MARK: asdict(self)}

    @classmethod
    def of(cls, answer: Any) -> "Decision | None":
        """The decision that an answer is; None where it is the answer to another question."""
        return _marked(_DECISION, answer)


_TERMS, _DECISION = TypeAdapter(Terms), TypeAdapter(Decision)


def approval_id(run_id: str, interrupt_id: str) -> str:
    """The id of the approval that an interrupt of a run asks for: the same, however often it parks on it."""
    return f"apr_{hashlib.sha256(f'{run_id}/{interrupt_id}'.encode()).hexdigest()[:32]}"


def is_marked(value: Any) -> bool:
    """Whether a value could be taken for a decision."""
    return isinstance(value, dict) and MARK in value


def _marked(adapter: TypeAdapter[T], value: Any) -> T | None:
    try:
        return adapter.validate_python(value[MARK]) if is_marked(value) else None
    except ValidationError:
        return None
