"""What a deployment declares about its warehouse, in a TOML file.

    default_role = "analyst"

    [roles.analyst.tables]
    Invoice = ["*"]
    Customer = ["CustomerId", "Country"]

    [datasets.sales]
    from = "Invoice i JOIN Customer c USING (CustomerId)"
    dimensions = { country = "c.Country", month = "strftime('%Y-%m', i.InvoiceDate)" }
    metrics = { revenue = "sum(i.Total)", invoices = "count(*)" }

    [[datasets.sales.aggregates]]
    table = "monthly_sales"
    use = "fallback"
    dimensions = { month = "month" }
    metrics = { revenue = "sum(revenue)" }

    [[rewrites]]
    query = "SELECT count(*) FROM InvoiceLine"
    instead = "SELECT sum(lines) FROM monthly_sales"

A role is a name and, on SQLite, the columns of the tables and views that it may read. On PostgreSQL it is a role of the
database with the same name, whose privileges hold, and which the role of the connection has to be a member of.

A dataset is what queries of metrics are made of, and an aggregate a table that has some of it in advance. A rewrite is
a query of which another one has the result in advance. Both are used where the query itself is too expensive or too
slow, or always. The SQL is declared by the deployment, and is checked like that of callers when it runs.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from graphmesh_chassis.settings import BadSetting
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Role(Declared):
    tables: dict[str, list[str]] = Field(default_factory=dict)


Names = Annotated[dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")], str], Field(min_length=1)]
"""SQL expressions by the names of metrics or dimensions."""
Use = Literal["always", "fallback"]


class Aggregate(Declared):
    table: str
    use: Use = "fallback"
    dimensions: dict[str, str] = Field(default_factory=dict)
    metrics: Names


class Dataset(Declared):
    source: str = Field(alias="from")
    description: str = ""
    dimensions: dict[str, str] = Field(default_factory=dict)
    metrics: Names
    aggregates: tuple[Aggregate, ...] = ()

    @model_validator(mode="after")
    def _aggregates_have_what_the_dataset_has(self) -> Self:
        for one in self.aggregates:
            if unknown := (one.metrics.keys() - self.metrics.keys()) | (one.dimensions.keys() - self.dimensions.keys()):
                raise ValueError(f"the aggregate {one.table} has {min(unknown)}, which the dataset does not have")
        if both := self.metrics.keys() & self.dimensions.keys():
            raise ValueError(f"{min(both)} is a metric and a dimension")
        return self


class Rewrite(Declared):
    query: str
    instead: str
    use: Use = "fallback"


class Declarations(Declared):
    default_role: str = ""
    roles: dict[str, Role] = Field(default_factory=dict)
    datasets: dict[str, Dataset] = Field(default_factory=dict)
    rewrites: tuple[Rewrite, ...] = ()

    def rewrite_of(self, text: str) -> Rewrite | None:
        """Return the rewrite of a query; white space and a semicolon at the end make no difference."""
        words = _words(text)
        return next((one for one in self.rewrites if _words(one.query) == words), None)


def _words(text: str) -> list[str]:
    return text.rstrip().removesuffix(";").split()


def read_declarations(path: str, *, sqlite: bool) -> Declarations:
    """Read the file; an empty path declares nothing.

    Raises:
        BadSetting: it cannot be read, or breaks a rule; the message names the key.
    """
    if not path:
        return Declarations()
    try:
        declared = Declarations.model_validate(tomllib.loads(Path(path).read_text()))
    except (OSError, ValueError) as error:
        raise BadSetting(f"GRAPHMESH_SQL_DECLARATIONS: {path}: {_message(error)}") from error
    if declared.default_role and declared.default_role not in declared.roles:
        raise BadSetting(f"GRAPHMESH_SQL_DECLARATIONS: {path}: default_role: there is no role {declared.default_role}")
    for name, role in declared.roles.items():
        if sqlite != bool(role.tables):
            rule = "has to list tables" if sqlite else "lists tables: grant them to the role in PostgreSQL"
            raise BadSetting(f"GRAPHMESH_SQL_DECLARATIONS: {path}: roles.{name}: {rule}")
    return declared


def _message(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
