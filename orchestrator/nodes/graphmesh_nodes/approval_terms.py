"""Approvals as values of interrupts: the terms that a node requests approval for, and the approver's answer."""

import hashlib
from collections.abc import Collection
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from graphmesh_contracts import APPROVAL_KEY
from pydantic import Field, TypeAdapter, ValidationError

from graphmesh_nodes.errors import ApproverIsRequester

T = TypeVar("T")


class ApprovalStatus(StrEnum):
    """The status of an approval."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    """Denied, because no approver has answered in time."""
    VOID = "void"
    """The run has ended before an answer."""


MAX_TTL = 10 * 365 * 86_400.0
"""Seconds. With more, an approval could expire behind the last time that a message can have."""


@dataclass(frozen=True)
class ApprovalTerms:
    """The terms of an approval: one call of one tool, and no other."""

    tool: str
    arguments: dict[str, Any]
    """The request, as JSON."""
    digest: str
    """SHA-256 of method and request, in hex."""
    question: str
    scopes: list[str]
    """The scopes that the approver needs, all of them."""
    ttl: Annotated[float, Field(le=MAX_TTL)]
    """Seconds until the approval expires, from when the run parks."""
    four_eyes: bool = False
    """Whether the approver has to be another one than the caller that created the run."""

    def to_interrupt(self) -> dict[str, Any]:
        """Return the value of the interrupt that requests the approval."""
        return {APPROVAL_KEY: asdict(self)}

    @classmethod
    def from_interrupt(cls, value: Any) -> "ApprovalTerms | None":
        """Read the value of an interrupt; None where it requests no approval."""
        return _read(_TERMS, value)


@dataclass(frozen=True)
class ApprovalAnswer:
    """The answer to an approval request, as the node gets it."""

    approval_id: str
    digest: str
    """The digest of the terms."""
    status: ApprovalStatus
    by: str
    """The approver; empty where the approval has expired."""
    comment: str
    epoch: int
    """The epoch in which the run has parked: only a later one can have sent the call."""
    thread_id: str = ""
    """The thread of the request. A fork of the thread has the answer too, and must not use it."""

    def to_resume(self) -> dict[str, Any]:
        """Return the value that the interrupt is resumed with."""
        return {APPROVAL_KEY: asdict(self)}

    @classmethod
    def from_resume(cls, value: Any) -> "ApprovalAnswer | None":
        """Read the value that an interrupt was resumed with; None where it answers another question."""
        return _read(_ANSWER, value)


_TERMS, _ANSWER = TypeAdapter(ApprovalTerms), TypeAdapter(ApprovalAnswer)


def approval_id(run_id: str, interrupt_id: str) -> str:
    """Derive the id of the approval that an interrupt of a run requests: equal each time that the run parks on it."""
    return f"apr_{hashlib.sha256(f'{run_id}/{interrupt_id}'.encode()).hexdigest()[:32]}"


def require_four_eyes(four_eyes: bool, status: ApprovalStatus, by: str, requesters: Collection[str]) -> None:
    """Raises ApproverIsRequester where a caller approves its own request, and `four_eyes` requires another approver."""
    if four_eyes and status is ApprovalStatus.APPROVED and by in requesters:
        raise ApproverIsRequester(subject=by)


def has_approval_key(value: Any) -> bool:
    """Return whether a value could be mistaken for an approval request or answer."""
    return isinstance(value, dict) and APPROVAL_KEY in value


def _read(adapter: TypeAdapter[T], value: Any) -> T | None:
    try:
        return adapter.validate_python(value[APPROVAL_KEY]) if has_approval_key(value) else None
    except ValidationError:
        return None
