"""Asks a person to confirm one proposal, by an interrupt, before a graph acts on it.

    proposal = Proposal("refund", "Refund 18.90 EUR of INV-2038?", {"invoice": "INV-2038", "amount_minor": 1890})
    match confirm(proposal):
        case Accepted(): ...
        case Declined(): ...
        case Message(text): ...     # neither yes nor no: the person's next message

Only a proposal that is accepted under its own id is `Accepted`. An answer that is malformed, or names another proposal,
interrupts again, with the field and the rule.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langgraph.types import interrupt

from graphmesh_nodes.guardrails.replies import reply_of

MAX_MESSAGE_CHARACTERS = 20_000
MAX_REFUSED_ANSWERS = 100
"""Malformed answers after which the proposal counts as declined, since each is replayed with the node."""

_SHOWN = 60
_DECISION_FIELDS = ("proposal", "accept")
_FORMS = 'must be {"proposal": id, "accept": true or false}, {"message": text} or a text'


@dataclass(frozen=True)
class Proposal:
    """One action, described for a person and for code."""

    kind: str
    """The kind of action, such as `refund`."""
    question: str
    content: Mapping[str, Any]
    """All that the action depends on, as JSON values. Shown to the person, and what the id stands for."""
    id: str = field(init=False)
    """16 hex digits of the SHA-256 of kind and content: an id confirms this content and no other."""

    def __post_init__(self) -> None:
        """Raises ValueError or TypeError: the content is not JSON, or uses the names `id` and `kind`."""
        if taken := {"id", "kind"} & self.content.keys():
            raise ValueError(f"content: {taken.pop()} is a field of the proposal itself")
        canonical = json.dumps([self.kind, self.content], sort_keys=True, separators=(",", ":"), allow_nan=False)
        object.__setattr__(self, "id", hashlib.sha256(canonical.encode()).hexdigest()[:16])

    def payload(self, error: str = "") -> dict[str, Any]:
        """Return the value of the interrupt; `error` names what was wrong with the answer before."""
        shown = {"question": self.question, "proposal": {"id": self.id, "kind": self.kind, **self.content}}
        return {**shown, "error": error} if error else shown


@dataclass(frozen=True)
class Accepted:
    """The person has accepted this proposal."""


@dataclass(frozen=True)
class Declined:
    """The person has declined this proposal."""


@dataclass(frozen=True)
class Message:
    """The person has neither accepted nor declined, but has written this."""

    text: str


Decision = Accepted | Declined | Message


class _MalformedAnswerError(ValueError):
    """Names a field of an answer and the rule that it breaks."""


def confirm(proposal: Proposal) -> Decision:
    """Interrupt the node until the proposal is accepted, declined, or answered with another message.

    The node runs again from its start with each answer, so what precedes must be deterministic. After
    `MAX_REFUSED_ANSWERS` malformed answers the proposal is declined.
    """
    error = ""
    for _ in range(MAX_REFUSED_ANSWERS):
        try:
            return decision_of(proposal, interrupt(proposal.payload(error)))
        except _MalformedAnswerError as malformed:
            error = str(malformed)
    return Declined()


def decision_of(proposal: Proposal, answer: Any) -> Decision:
    """Understand an answer to the proposal. Raises ValueError, which names a field and its rule."""
    match answer:
        case str():
            return _of_text(answer, "answer")
        case {"message": message} if len(answer) == 1:
            return _of_text(message, "message")
        case dict():
            return _of_fields(proposal, answer)
    raise _MalformedAnswerError(f"answer: {_FORMS}")


def _of_text(text: Any, name: str) -> Decision:
    if not isinstance(text, str):
        raise _MalformedAnswerError(f"{name}: must be a text")
    if not text.strip():
        raise _MalformedAnswerError(f"{name}: must not be empty")
    if len(text) > MAX_MESSAGE_CHARACTERS:
        raise _MalformedAnswerError(f"{name}: must have at most {MAX_MESSAGE_CHARACTERS} characters")
    match reply_of(text):
        case "accept":
            return Accepted()
        case "decline":
            return Declined()
    return Message(text)


def _of_fields(proposal: Proposal, answer: Mapping[Any, Any]) -> Decision:
    if "message" in answer:
        raise _MalformedAnswerError("message: must be the only field of an answer")
    for name in answer:
        if name not in _DECISION_FIELDS:
            raise _MalformedAnswerError(f"{str(name)[:_SHOWN]}: is not a known field; an answer {_FORMS}")
    for name in _DECISION_FIELDS:
        if name not in answer:
            raise _MalformedAnswerError(f"{name}: is required")
    if answer["proposal"] != proposal.id:
        raise _MalformedAnswerError(f"proposal: must be {proposal.id}, the id of the present proposal")
    if not isinstance(answer["accept"], bool):
        raise _MalformedAnswerError("accept: must be true or false")
    return Accepted() if answer["accept"] else Declined()
