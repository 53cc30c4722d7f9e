"""The tables of assistants and their versions."""

import sqlalchemy as sa
from graphmesh_chassis.database import UtcDateTime

from graphmesh_orchestrator.db.tables import metadata

assistants = sa.Table(
    "assistants",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("assistant_id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("graph", sa.String(64), nullable=False),
    sa.Column("latest", sa.Integer, nullable=False),
    sa.Column("last_version", sa.Integer, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
)
"""`name` and `graph` are those of the version `latest`; `last_version` is the highest number that was given."""
_NAMED_ROWS = sa.text("name <> ''")
sa.Index(
    "assistants_by_name",
    assistants.c.tenant,
    assistants.c.name,
    unique=True,
    sqlite_where=_NAMED_ROWS,
    postgresql_where=_NAMED_ROWS,
)
sa.Index("assistants_by_age", assistants.c.tenant, assistants.c.created, assistants.c.assistant_id)

versions = sa.Table(
    "assistant_versions",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("assistant_id", sa.String(64), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("updated", UtcDateTime, nullable=False),
    sa.Column("graph", sa.String(64), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("context", sa.JSON(none_as_null=True)),
    sa.Column("configurable", sa.JSON(none_as_null=True)),
    sa.Column("recursion_limit", sa.Integer, nullable=False),
    sa.Column("metadata", sa.JSON(none_as_null=True)),
)
