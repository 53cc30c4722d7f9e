"""The support policy of a tenant: data, not code. `policy.toml` has the defaults.

What may be refunded, until when and in which currencies is not in here: that is billing's refund policy.
"""

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from graphmesh_nodes import AgentPolicy, agent_policy
from graphmesh_nodes.errors import PolicyInvalid
from pydantic import BaseModel, ConfigDict, Field, model_validator

from support.prompts import REPLIES
from support.state import MAX_MESSAGES, Cause, Reason

DEFAULT_FILE = Path(__file__).parent / "policy.toml"

Share = Annotated[float, Field(ge=0, le=1)]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
Topic = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Phrase = Annotated[str, Field(min_length=1, max_length=100)]
Redacted = Literal["card", "iban", "secret", "email", "phone"]
Phrases = Annotated[Mapping[Language, tuple[Phrase, ...]], Field(max_length=50)]
"""By language. A phrase matches as whole words, in the notation of `graphmesh_nodes.guardrails.lexicon`."""


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Confidence(_Data):
    """The least confidence for acting without a person."""

    proposal: Share
    """In the understanding of a message, for a proposal of a refund."""
    answer: Share
    """In the best passage, for an answer that quotes it."""
    draft: Share
    """In the best passage, for a language model to try an answer from it."""


class Refunds(_Data):
    """When a refund may be proposed to the customer. Billing decides again whether it is made."""

    order_states: Mapping[Cause, tuple[str, ...]]
    """The states of the order, in the words of the CRM, by the cause that the customer reports. A cause without an
    entry is never refunded by the agent."""
    approval_scopes: Annotated[tuple[str, ...], Field(min_length=1)]
    """What an approver needs where billing requires an approval."""
    approval_hours: Annotated[int, Field(ge=1, le=168)]
    """Time to answer a request for an approval."""
    arrival_days: tuple[int, int]
    """Working days until the money arrives, at least and at most, as customers are informed."""
    extra_lines: tuple[str, ...]
    """Lines of invoices that are no items, by their description: claimed only by name or with all the rest."""


class Wording(_Data):
    """Phrases, by language, that an answer must not have, and those that the agent reacts to."""

    impolite: Phrases
    promises: Phrases
    deeds: Phrases
    """Claims of having done something: only the graph may state that, of what a service has confirmed."""
    evasive: Phrases
    """Answers that are none."""
    person_wanted: Phrases
    """With which a customer asks for a person."""
    everything: Phrases
    """With which a customer claims all items of an invoice."""
    order_status: Phrases
    """With which a customer asks how far an order is, together with one of `parcel` or the id of an order."""
    parcel: Phrases
    money: Phrases
    """With which a customer asks about a refund, other than for one."""


class SupportPolicy(_Data):
    """The policy. A tenant's own, in whole or in members, is the item `policy` of its store namespace
    `policies/support`."""

    languages: Annotated[tuple[Language, ...], Field(min_length=1)]
    """Languages in which customers are answered. A message in another one is handed over."""
    default_language: Language
    """For messages without a recognisable language of customers without a preferred one."""
    answer_time: Mapping[Language, Phrase]
    """Time in which a person answers, in words."""
    emergency_contact: Annotated[str, Field(min_length=1, max_length=200)]
    """Given to customers in an emergency that could not be handed over, since the ticket system is down."""
    emergency_topics: Mapping[Topic, Topic]
    """The topic of the ticket by the topic of the emergency. The ticket policy gives it a queue and a priority."""
    ticket_topics: Mapping[Reason, Topic]
    """The topic of the ticket by the reason for which a request is handed over; none where there is no entry."""
    tier_topics: Mapping[str, Topic]
    """The topic of the ticket by the customer's tier, where the reason has none."""
    confidence: Confidence
    refunds: Refunds
    wording: Wording
    link_hosts: tuple[str, ...]
    """Hosts that links in an answer may have, with their subdomains."""
    id_prefixes: tuple[str, ...]
    """How ids of records begin: an answer has none that are not the customer's own."""
    redact: tuple[Redacted, ...]
    """What is replaced by placeholders in a message before it is stored, shown to a model or put into a ticket."""
    history: Annotated[int, Field(ge=0, le=MAX_MESSAGES)]
    """Earlier messages of the conversation that a model is shown."""
    max_turns: Annotated[int, Field(ge=1, le=20)]
    """Messages of the customer in one run: each one in place of an answer to a proposal counts."""
    max_options: Annotated[int, Field(ge=2, le=20)]
    """Choices that a clarifying question lists."""

    @model_validator(mode="after")
    def _languages_are_complete(self) -> "SupportPolicy":
        if unknown := [language for language in self.languages if language not in REPLIES]:
            raise ValueError(f"languages must have texts in prompts/; missing: {', '.join(unknown)}")
        if self.default_language not in self.languages:
            raise ValueError(f"default_language must be one of languages, not {self.default_language}")
        if missing := [language for language in self.languages if language not in self.answer_time]:
            raise ValueError(f"answer_time must have an entry for each of languages; missing: {', '.join(missing)}")
        return self


DEFAULT_POLICY = SupportPolicy.model_validate(tomllib.loads(DEFAULT_FILE.read_text(encoding="utf-8")))


@lru_cache(maxsize=16)
def _parsed(text: str) -> SupportPolicy:
    return SupportPolicy.model_validate_json(text)


def policy_of(state: Mapping[str, Any]) -> SupportPolicy:
    """The policy that the run began with."""
    return _parsed(state["policy"])


async def read_policy(*, is_urgent: bool) -> AgentPolicy[SupportPolicy]:
    """Return the tenant's policy. In an emergency the defaults stand in for one that is invalid."""
    try:
        return await agent_policy("support", SupportPolicy, DEFAULT_FILE)
    except PolicyInvalid:
        if not is_urgent:
            raise
        return AgentPolicy(DEFAULT_POLICY, "default")
