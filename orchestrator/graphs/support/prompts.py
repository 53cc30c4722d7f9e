"""The prompts: versioned files, read once. A changed prompt is a new file with the next version."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from support.state import Reason

FOLDER = Path(__file__).parent / "prompts"
VERSIONS: Mapping[str, str] = {"classify": "v1", "draft": "v1", "replies": "v1"}
"""The versions in use; each run records them in its state."""


def _file(name: str, suffix: str) -> str:
    return (FOLDER / f"{name}.{VERSIONS[name]}.{suffix}").read_text(encoding="utf-8")


_CLASSIFY = tomllib.loads(_file("classify", "toml"))
_REPLIES = tomllib.loads(_file("replies", "toml"))
_DRAFT = Template(_file("draft", "md"))

CLASSIFY: str = _CLASSIFY["instructions"].strip()
INTENTS: Mapping[str, str] = _CLASSIFY["intents"]
CAUSES: Mapping[str, str] = _CLASSIFY["causes"]


def _one_of(choices: Mapping[str, str], default: str) -> dict[str, Any]:
    options = [{"const": name, "description": description} for name, description in choices.items()]
    return {"oneOf": options, "default": default}


CLASSIFICATION: Mapping[str, Any] = {
    "title": "Classification",
    "type": "object",
    "properties": {
        "intent": _one_of(INTENTS, "other"),
        "cause": _one_of(CAUSES, "none"),
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "required": ["intent", "cause", "confidence"],
    "additionalProperties": False,
}
"""The JSON schema of the model's classification of a message."""


def draft(account: str) -> str:
    """Return the instructions for an answer; `account` describes the customer."""
    return _DRAFT.substitute(account=account)


def refunded(amount: str, invoice: str, cause: str) -> str:
    """Return the reply to a customer who got a refund."""
    template = Template(_REPLIES["refunded"])
    return template.substitute(amount=amount, invoice=invoice, cause=_REPLIES["causes"][cause])


def handed_over(reason: Reason, answer_within: str) -> str:
    """Return the reply to a customer whose request a person takes over."""
    ticket = Template(_REPLIES["ticket"]).substitute(answer_within=answer_within)
    return f"{_REPLIES['reasons'][reason]} {ticket}"


def not_handed_over(reason: Reason) -> str:
    """Return the reply to a customer whose request could not be handed over to a person."""
    return f"{_REPLIES['reasons'][reason]} {_REPLIES['no_ticket']}"
