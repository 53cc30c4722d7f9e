"""Updates of the state that end a turn: a question to the customer, a person, an emergency."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from graphmesh_nodes import Update

from support import texts
from support.state import Awaited, Cause, Option, Pending, Reason, State

NO_VALUES: Mapping[str, str] = MappingProxyType({})
MAX_CLARIFICATIONS = 2
"""Questions to the customer one after the other; then a person takes over."""

EMPTY_FINDINGS: Update = {
    "answer": "",
    "outcome": "escalated",
    "category": "other",
    "confidence": 0.0,
    "ticket_id": None,
    "refund_id": None,
    "sources": [],
    "citations": [],
    "follows": None,
    "is_yes": False,
    "emergency": "",
    "account": None,
    "orders": None,
    "invoices": None,
    "passages": None,
    "claim": None,
    "terms": None,
    "accepted": "",
    "model": "offline",
    "faults": [],
    "drafts": 0,
    "step": None,
    "reason": None,
}
"""What a turn begins with: a thread keeps the findings of its earlier turns, which do not apply to this message."""


def needs_person(reason: Reason, *notes: str) -> Update:
    """Let a person take over."""
    return {"reason": reason, "step": "hand_over", "notes": list(notes)}


def emergency(topic: str) -> Update:
    return {"emergency": topic, "category": "emergency", "confidence": 1.0, **needs_person("emergency")}


def clarify(
    state: State,
    name: str,
    awaits: Awaited | None = None,
    *,
    options: Sequence[Option] = (),
    message: str = "",
    cause: Cause = "none",
    values: Mapping[str, str] = NO_VALUES,
) -> Update:
    """Put a question to the customer, and remember what it was about, so that the next message may answer it."""
    if state["clarifications"] >= MAX_CLARIFICATIONS:
        return needs_person("too_many_turns")
    question = texts.reply(state["language"], name, **values)
    answer = texts.listed(state["language"], question, options, state["invoices"] or []) if options else question
    return {
        "answer": answer,
        "outcome": "clarify",
        "pending": _pending(awaits, message or state["message"], cause, options),
        "clarifications": state["clarifications"] + 1,
        "step": "finish",
    }


def _pending(awaits: Awaited | None, message: str, cause: Cause, options: Sequence[Option]) -> Pending | None:
    return Pending(awaits=awaits, message=message, cause=cause, options=list(options)) if awaits else None
