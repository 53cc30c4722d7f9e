"""The policy of the analyst: data of a tenant."""

from pathlib import Path

from graphmesh_nodes import AgentPolicy, agent_policy
from pydantic import BaseModel, ConfigDict, Field

DEFAULT = Path(__file__).with_name("policy.toml")


class DeclaredMeasure(BaseModel):
    """How a measure is computed from the rows of a table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """`revenue` or `quantity`."""
    table: str
    expression: str
    """SQL over columns of the table."""
    filter: str = ""
    """SQL: the rows that count."""
    unit: str = ""


class AnalystPolicy(BaseModel):
    """How numbers are computed and stated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    measures: list[DeclaredMeasure] = []
    """The first whose table exists is used, before what is derived from names of columns."""
    unit: str = ""
    """The unit of amounts whose measure states none, such as EUR."""
    time_zone: str = "UTC"
    """The time zone of the times in the database; stated where an answer is of a period."""
    role: str = ""
    """The role of the sql service that queries are read with; empty: that of the caller."""
    max_rows: int = Field(ge=1, le=1000)
    """The rows of a result that an answer has."""
    max_repairs: int = Field(ge=0, le=5)
    """How often a query that was refused is given back to a model."""


async def policy() -> AgentPolicy[AnalystPolicy]:
    """Return the tenant's policy."""
    return await agent_policy("analyst", AnalystPolicy, DEFAULT)
