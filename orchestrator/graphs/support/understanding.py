"""The nodes that understand a message: emergencies first and without a model, then what it means.

A model proposes a reading. It may add an emergency and never remove one; whether money is wanted needs the consent of
the lexical reading, which is all there is where the model is the offline composer, or down.
"""

from typing import Literal, cast

from graphmesh_nodes import GraphmeshChatModel, Update
from graphmesh_nodes.errors import GraphmeshError
from graphmesh_nodes.guardrails.answers import redacted
from graphmesh_nodes.guardrails.intent import intent_of
from graphmesh_nodes.guardrails.languages import language_of
from graphmesh_nodes.guardrails.replies import reply_of
from graphmesh_nodes.guardrails.structured import structured
from graphmesh_nodes.guardrails.untrusted import delimited, readable
from graphmesh_nodes.guardrails.urgency import urgency_of
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langgraph.types import Overwrite
from pydantic import BaseModel, ConfigDict, Field

from support import prompts, summary, texts
from support.outcomes import EMPTY_FINDINGS, clarify, emergency, needs_person
from support.policy import read_policy
from support.relevance import question_of
from support.state import Act, Category, Cause, Pending, State, Understanding
from support.wording import plain_words

MIN_UNREAD_WORDS = 4
"""A message of fewer words, such as the number of an invoice, has no language that a word list could lack."""
MODEL = GraphmeshChatModel()
Emergency = Literal["none", "self-harm", "poison", "injury", "threat", "legal", "privacy", "account-takeover"]


class Reading(BaseModel):
    """What a model reports of a message."""

    model_config = ConfigDict(extra="forbid")

    language: str = Field("", pattern=r"^([a-z]{2,3})?$", description="Language of the message, ISO 639.")
    act: Act = Field(
        "other",
        description="asks_for: wants something done. asks_about: wants to know something. tells: only reports. "
        "thanks: only thanks. other: none of these, or unclear.",
    )
    topic: Category = Field(
        "other",
        description="refund: wants money back. refund_status: asks about a refund. order: asks where an order is. "
        "question: about products, shipping, returns, payment, the account. person: wants a person. thanks, emergency, "
        "other.",
    )
    wants_money: bool = Field(False, description="Whether the customer requests money back in this message.")
    negated: bool = Field(False, description="Whether the customer states not to want it, or that nothing is wrong.")
    cause: Cause = Field("none", description="What is wrong with an item, as the customer reports it.")
    items: list[str] = Field(
        [], max_length=10, description="The items or amounts that are claimed, each copied exactly from the message."
    )
    query: str = Field("", max_length=500, description="The question in a few words of English, to search articles by.")
    emergency: Emergency = Field(
        "none", description="Danger to a person, a legal or privacy matter, or a stolen account."
    )
    confidence: float = Field(0, ge=0, le=1, description="How sure you are of all of this.")


async def receive(state: State) -> Update:
    """Begin a run with its message: the thread may have had others before."""
    return await _turn(state, 1)


async def next_turn(state: State) -> Update:
    """Begin with the message that came in place of an answer to a proposal."""
    return await _turn(state, state["turn"] + 1)


async def _turn(state: State, number: int) -> Update:
    """Read the policy, reset what earlier turns have found, and recognise what needs no model."""
    urgency = urgency_of(state["message"])
    read = await read_policy(is_urgent=urgency is not None)
    policy, message = read.value, redacted(readable(state["message"]), read.value.redact)
    spoken = language_of(message)
    language = next((known for known in (spoken, state.get("language", "")) if known in policy.languages), "")
    update: Update = {
        **EMPTY_FINDINGS,
        "message": message,
        "messages": [HumanMessage(message)],
        "policy": policy.model_dump_json(),
        "prompts": {**prompts.VERSIONS, "policy": read.version},
        "language": language or policy.default_language,
        "pending": None,
        "clarifications": state.get("clarifications", 0),
        "turn": number,
        "notes": Overwrite([]),
        "checks": Overwrite({}),
    }
    if urgency:
        return {**update, **emergency(urgency.topic)}
    begun = cast(State, {**state, **update})
    return {**update, **_reply(begun, state.get("pending"), is_spoken=bool(spoken))}


def _reply(state: State, pending: Pending | None, *, is_spoken: bool) -> Update:
    """Recognise yes and no, which are bound to the question before them, and messages without words."""
    message = state["message"]
    answer = reply_of(message)
    if answer == "other":
        known = is_spoken or any(char.isalnum() for char in message)
        return {"follows": pending} if known else clarify(state, "no_words")
    if pending is None:
        return clarify(state, "nothing_open")
    if answer == "decline":
        declined = texts.reply(state["language"], "declined")
        return {"answer": declined, "outcome": "declined", "confidence": 1.0, "step": "finish"}
    return needs_person("request") if pending["awaits"] == "hand_over" else {"follows": pending, "is_yes": True}


async def understand(state: State) -> Update:
    """Let the model read the message, if it is a language model, within what the lexical reading permits."""
    lexical = lexical_reading(state["message"])
    if state["is_yes"]:
        return {"understanding": lexical, "confidence": 1.0}
    try:
        reading, is_offline = await structured(MODEL, Reading, _prompt(state))
    except GraphmeshError:
        return {**_understood(lexical), "model": "down", "notes": [texts.note(state, "model")]}
    if is_offline:
        return _understood(lexical)
    if reading is None:
        return {**_understood(lexical), "notes": [texts.note(state, "model")]}
    understood = {**_understood(_permitted(reading, lexical, state["message"])), "model": "real"}
    return understood if reading.emergency == "none" else {**understood, **emergency(reading.emergency)}


def _understood(understanding: Understanding) -> Update:
    return {"understanding": understanding, "confidence": understanding["confidence"]}


def _prompt(state: State) -> list[AnyMessage]:
    return [
        SystemMessage(prompts.UNDERSTAND),
        *summary.conversation(state),
        HumanMessage(delimited("message", state["message"])),
    ]


def lexical_reading(message: str, language: str = "") -> Understanding:
    """Read a message, or a part of one in a known language, by word lists: what they do not have is not understood."""
    intent = intent_of(message, language)
    return Understanding(
        language=intent.language,
        act=intent.act,
        topic="other",
        wants_money=intent.wants_money,
        negated=intent.negated,
        cause=cast(Cause, intent.cause.replace("-", "_")),
        confidence=round(intent.confidence, 3),
        query=question_of(message, intent.language),
        quotes=[],
    )


def _permitted(reading: Reading, lexical: Understanding, message: str) -> Understanding:
    """Return the model's reading, without what the lexical one refuses: money, and quotes that the message lacks."""
    return Understanding(
        language=lexical["language"] or reading.language,
        act=reading.act,
        topic=reading.topic,
        wants_money=reading.wants_money
        and reading.act == "asks_for"
        and not reading.negated
        and _permits_money(lexical, message),
        negated=reading.negated or lexical["negated"],
        cause=reading.cause if lexical["cause"] == "none" else lexical["cause"],
        confidence=round(reading.confidence, 3),
        query=reading.query.strip() or lexical["query"],
        quotes=[item for item in reading.items if item.strip() and item in message],
    )


def _permits_money(lexical: Understanding, message: str) -> bool:
    """Permit it where the words of the message want something, or where no word list has their language."""
    if lexical["negated"] or lexical["act"] in ("asks_about", "thanks"):
        return False
    is_unread = not lexical["language"] and sum(word.isalpha() for word in plain_words(message)) >= MIN_UNREAD_WORDS
    return lexical["wants_money"] or lexical["cause"] != "none" or is_unread


urgency_of("")  # reads the word lists now: in the first run it would hold up the event loop of all runs
