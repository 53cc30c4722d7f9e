"""What a deployment declares about its warehouse, in a TOML file.

    default_role = "analyst"

    [roles.analyst.tables]
    Invoice = ["*"]
    Customer = ["CustomerId", "Country"]

A role is a name and, on SQLite, the columns of the tables and views that it may read. On PostgreSQL it is a role of the
database with the same name, whose privileges hold, and which the role of the connection has to be a member of.
"""

import tomllib
from pathlib import Path

from graphmesh_chassis.settings import BadSetting
from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Role(Declared):
    tables: dict[str, list[str]] = Field(default_factory=dict)


class Declarations(Declared):
    default_role: str = ""
    roles: dict[str, Role] = Field(default_factory=dict)


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
