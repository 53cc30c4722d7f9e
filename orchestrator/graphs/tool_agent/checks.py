"""Checks of what the model has written: its answer, and the texts of what it proposes."""

import re
import tomllib
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

from graphmesh.billing.v1 import BillingService
from graphmesh_nodes import record_validation
from graphmesh_nodes.guardrails.answers import leaks, phrases_of
from graphmesh_nodes.guardrails.lexicon import Lexicon
from graphmesh_nodes.guardrails.words import words
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from tool_agent import prompts
from tool_agent.rpcs import EFFECTS

NUMBER = re.compile(r"[0-9]+(?:[.,'’\u00a0\u202f][0-9]+)*")
DIGITS = re.compile(r"[0-9]+")
REFUND_NAME = BillingService.Refund.tool.replace(".", "_")
DECLINED = "DECLINED:"
"""In the result of a call whose proposal was declined."""
EFFECT_NAMES = frozenset(rpc.tool.replace(".", "_") for rpc in EFFECTS)


def problem_of(text: str, messages: list[Any]) -> str:
    """Return the rule that a text breaks in a conversation; empty where it breaks none."""
    if broken := leaks(text, instructions=_INSTRUCTIONS):
        return f"may not have: {', '.join(broken)}"
    known = _numbers("\n".join(_sources(messages)))
    if unknown := [number for number in NUMBER.findall(text) if not _is_known(number, known)]:
        return f"has the number {unknown[0]}, which neither a tool nor the customer has stated"
    if next(_CLAIMS.matches(words(text)), None):
        return "claims that something was done, which code states"
    return ""


def checked_answer(answer: str, state: Any) -> str:
    """Return the answer; empty where it breaks a rule."""
    problem = problem_of(answer, state["messages"])
    record_validation("answer", [problem] if problem else [])
    return "" if problem else answer


def effects_of(messages: list[Any]) -> list[ToolMessage]:
    """Return the results of the effects that were made in the present turn."""
    turn = takewhile(lambda one: not isinstance(one, HumanMessage), reversed(messages))
    results = [one for one in turn if isinstance(one, ToolMessage)]
    return [one for one in reversed(results) if one.name in EFFECT_NAMES and one.status == "success"]


def is_answered_refund(result: ToolMessage) -> bool:
    """Whether a message of a tool is that of a refund which the customer has confirmed or declined."""
    return result.name == REFUND_NAME and (result.status == "success" or DECLINED in str(result.text))


def _numbers(text: str) -> set[str]:
    """Return the numbers of a text, with the parts of those that have separators."""
    return {_digits(number) for number in (*NUMBER.findall(text), *DIGITS.findall(text))}


def _is_known(number: str, known: set[str]) -> bool:
    """Whether a number is known as it is, or without its separators: 18.90 of 1890 minor units."""
    return _digits(number) in known or all(_digits(part) in known for part in DIGITS.findall(number))


def _digits(number: str) -> str:
    return "".join(DIGITS.findall(number)).lstrip("0") or "0"


def _sources(messages: list[Any]) -> Iterator[str]:
    """Yield what people have written in a conversation, and what tools have returned; their errors quote the model."""
    return (str(one.text) for one in messages if not isinstance(one, AIMessage) and _is_source(one))


def _is_source(message: Any) -> bool:
    return not isinstance(message, ToolMessage) or message.status == "success"


_INSTRUCTIONS = phrases_of(prompts.SYSTEM)
_CLAIMS = Lexicon(
    (phrase, language)
    for language, phrases in tomllib.loads(Path(__file__).with_name("claims.toml").read_text(encoding="utf-8")).items()
    for phrase in phrases
)
