"""The policy of the operations agent: data of a tenant."""

from pathlib import Path

from graphmesh_nodes import AgentPolicy, agent_policy
from pydantic import BaseModel, ConfigDict, Field

from operations.state import Record

DEFAULT = Path(__file__).with_name("policy.toml")


class FieldRule(BaseModel):
    """Who may change a field, and who has to approve that."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    roles: frozenset[str]
    """The roles whose members may request the change."""
    approval: bool = False
    scopes: tuple[str, ...] = ()
    """The scopes that the approver needs; where empty, those of the service."""
    four_eyes: bool = False
    """Whether another person than the requester has to approve."""
    values: frozenset[str] = frozenset()
    """The values that may be set; empty: all that the service takes."""


class OperationsPolicy(BaseModel):
    """The fields that may be changed, and by whom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fields: dict[str, FieldRule]
    """By record and field: `customer.email`. What is not listed, no role may change."""
    max_records: int = Field(ge=1, le=500)
    """The most records of one change."""
    max_approvals: int = Field(ge=1, le=500)
    """The most records of a change that needs approvals: each has an approval of its own."""
    shown_records: int = Field(ge=1, le=100)
    """The records of a proposal whose differences are shown."""
    id_prefixes: dict[Record, str]
    """How the ids of records begin, so that they are recognized in a message. An id behind the word "customer" or
    "ticket" is recognized without."""
    ticket_topic: str
    """The topic of tickets about changes that could not be verified."""

    def rule(self, record: str, field: str) -> FieldRule | None:
        """Return the rule of a field; that of `customer.attributes` is for all attributes."""
        return self.fields.get(f"{record}.{field}") or self.fields.get(f"{record}.{field.partition('.')[0]}")


async def policy() -> AgentPolicy[OperationsPolicy]:
    """Return the tenant's policy."""
    return await agent_policy("operations", OperationsPolicy, DEFAULT)
