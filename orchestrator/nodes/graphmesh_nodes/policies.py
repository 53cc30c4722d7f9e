"""Policies of agents: data of a tenant, over the defaults beside the graph."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from graphmesh_chassis.errors import FieldViolation
from langgraph.runtime import get_runtime
from pydantic import BaseModel, TypeAdapter, ValidationError

from graphmesh_nodes.errors import PolicyInvalid

PolicyT = TypeVar("PolicyT", bound=BaseModel)

NAMESPACE, KEY = "policies", "policy"
"""A tenant's policy of a graph is the item `policy` of the namespace `policies`, `<graph>` of its store."""


@dataclass(frozen=True)
class AgentPolicy(Generic[PolicyT]):
    """The policy of a tenant."""

    value: PolicyT
    version: str
    """Twelve characters of the digest of its content."""


async def agent_policy(graph: str, model: type[PolicyT], default: Path) -> AgentPolicy[PolicyT]:
    """Return the tenant's policy of a graph, from inside of a node.

    Members of the tenant's policy replace those of the default, whole. While the database is unavailable, it waits, as
    every access to the store does: the default may allow what a tenant does not.

    Args:
        graph: the name that the policy has in the store: that of the graph in langgraph.json.
        default: a TOML file beside the graph.

    Raises:
        PolicyInvalid: the policy breaks a rule; the violations name the fields.
    """
    store = get_runtime().store
    item = await store.aget((NAMESPACE, graph), KEY) if store else None
    own = item.value if item else {}
    return _checked(graph, model, {**_default(default), **own})


def policy_violations(model: type[BaseModel], members: Mapping[str, Any]) -> list[FieldViolation]:
    """Return what members of a tenant's policy break, each for itself: the others are those of the default."""
    return [violation for name, value in members.items() for violation in _member_violations(model, name, value)]


def _member_violations(model: type[BaseModel], name: str, value: Any) -> list[FieldViolation]:
    field = model.model_fields.get(name)
    if field is None:
        return [FieldViolation(name, f"is none of {', '.join(model.model_fields)}")]
    try:
        annotation: Any = Annotated[field.annotation, field]
        TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        return [FieldViolation(".".join([name, *map(str, one["loc"])]), one["msg"]) for one in error.errors()]
    return []


def _checked(graph: str, model: type[PolicyT], content: Mapping[str, Any]) -> AgentPolicy[PolicyT]:
    try:
        value = model.model_validate(content)
    except ValidationError as error:
        violations = [FieldViolation(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors()]
        raise PolicyInvalid(graph=graph, violations=violations) from error
    return AgentPolicy(value, hashlib.sha256(value.model_dump_json().encode()).hexdigest()[:12])


@cache
def _default(path: Path) -> Mapping[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))
