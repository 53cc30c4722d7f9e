"""Assistants and their versions, and the assistant of a run."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.database import UtcDateTime

revision = "orchestrator_0010"
down_revision = "orchestrator_0009"
branch_labels = None
depends_on = None

NAMED = sa.text("name <> ''")


def upgrade() -> None:
    op.create_table(
        "assistants",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("assistant_id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("graph", sa.String(64), nullable=False),
        sa.Column("latest", sa.Integer, nullable=False),
        sa.Column("last_version", sa.Integer, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
    )
    columns = ["tenant", "name"]
    op.create_index(
        "assistants_by_name", "assistants", columns, unique=True, sqlite_where=NAMED, postgresql_where=NAMED
    )
    op.create_index("assistants_by_age", "assistants", ["tenant", "created", "assistant_id"])
    op.create_table(
        "assistant_versions",
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
    op.add_column("runs", sa.Column("assistant_id", sa.String(64), nullable=False, server_default=""))
    op.add_column("runs", sa.Column("assistant_version", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("runs", "assistant_version")
    op.drop_column("runs", "assistant_id")
    op.drop_table("assistant_versions")
    op.drop_table("assistants")
