"""The policy of the operations agent: data of a tenant."""

from collections.abc import Iterable, Mapping, Sequence
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
    """Whether the change has to be approved; `scopes` and `four_eyes` imply it."""
    scopes: tuple[str, ...] = ()
    """The scopes that the approver needs; where empty, that of the service."""
    four_eyes: bool = False
    """Whether another person than the requester has to approve."""
    values: frozenset[str] = frozenset()
    """The values that may be set; empty: all that the service takes."""

    @property
    def needs_approval(self) -> bool:
        return self.approval or self.four_eyes or bool(self.scopes)


class OperationsPolicy(BaseModel):
    """The fields that may be changed, and by whom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fields: dict[str, FieldRule]
    """By record and field: `customer.email`. What is not listed, no role may change."""
    max_records: int = Field(ge=1, le=500)
    """The most records of one change."""
    max_approvals: int = Field(ge=1, le=500)
    """The most records of a change that needs approvals, at most `max_records`: each has an approval of its own."""
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

    def rules(self, record: str, fields: Iterable[str]) -> list[FieldRule]:
        return [rule for field in fields if (rule := self.rule(record, field))]

    def refused(self, record: str, fields: Iterable[str], roles: frozenset[str] | None) -> list[str]:
        """Return the fields that none of the roles may change; None: the local developer."""
        return [field for field in fields if not _permits(self.rule(record, field), roles)]

    def limit(self, record: str, fields: Iterable[str]) -> int:
        """Return the most records of a change of these fields."""
        needs_approval = any(rule.needs_approval for rule in self.rules(record, fields))
        return min(self.max_approvals, self.max_records) if needs_approval else self.max_records

    def refusal(self, record: str, fields: Sequence[str], roles: frozenset[str] | None) -> Mapping[str, str]:
        """Return the facts of a refusal: the fields, the caller's roles, and those that may change all of these."""
        able = [rule.roles if (rule := self.rule(record, field)) else frozenset[str]() for field in fields]
        return {
            "fields": ", ".join(f"{record}.{field}" for field in fields),
            "roles": ", ".join(sorted(roles or ())) or "–",
            "able": ", ".join(sorted(frozenset.intersection(*able))) or "–",
        }


def _permits(rule: FieldRule | None, roles: frozenset[str] | None) -> bool:
    return rule is not None and (roles is None or not roles.isdisjoint(rule.roles))


async def policy() -> AgentPolicy[OperationsPolicy]:
    """Return the tenant's policy."""
    return await agent_policy("operations", OperationsPolicy, DEFAULT)
