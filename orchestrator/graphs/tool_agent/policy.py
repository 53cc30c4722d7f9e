"""The policy of the tool-using agent: data of a tenant. `policy.toml` has the defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from graphmesh_nodes import agent_policy
from pydantic import BaseModel, ConfigDict, Field

DEFAULTS = Path(__file__).with_name("policy.toml")
NAME = "tool_agent"
FALLBACK_LANGUAGE = "en"


class Replies(BaseModel):
    """Sentences to customers, in one language."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    refund: str = Field(description="the question of a proposed refund, with {amount}, {invoice} and {lines}")
    ticket: str = Field(description="the question of a proposed ticket, with {subject}")
    handed_over: str = Field(description="a person takes over, with {ticket}")
    not_handed_over: str = Field(description="a person was to take over, and no ticket could be opened")
    quoted: str = Field(description="before the quotation of an article")
    welcome: str = Field(description="to thanks, without a model")
    invoice: str = Field(description="without a model, with {invoice}, {total} and {outstanding}")
    order: str = Field(description="likewise, with {order} and {status}")
    ticket_status: str = Field(description="likewise, with {ticket} and {status}")
    refunded: str = Field(description="what was done, in place of the model's words, with {amount} and {id}")
    opened: str = Field(description="likewise, with {id}")
    commented: str = Field(description="likewise, with {id}")


class Policy(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    min_score: Annotated[float, Field(ge=0, le=1)]
    """The least score of a passage that is quoted without a model."""
    link_hosts: tuple[str, ...]
    """Hosts that links of quoted articles may name; a model writes none."""
    replies: Annotated[Mapping[str, Replies], Field(min_length=1)]
    """By language; `en` serves those that have none."""

    def replies_in(self, language: str) -> Replies:
        return self.replies.get(language.partition("-")[0]) or self.replies[FALLBACK_LANGUAGE]


async def policy() -> Policy:
    """Return the tenant's policy. Raises PolicyInvalid."""
    return (await agent_policy(NAME, Policy, DEFAULTS)).value
