"""The items of the store."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.database import UtcDateTime

revision = "orchestrator_0007"
down_revision = "orchestrator_0006"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
ROWS = sa.text("expires > 0")


def upgrade() -> None:
    op.create_table(
        "store_items",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("namespace", KEY, primary_key=True),
        sa.Column("key", KEY, primary_key=True),
        sa.Column("value", sa.JSON, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("updated", UtcDateTime, nullable=False),
        sa.Column("ttl", sa.Float),
        sa.Column("expires", sa.Float, nullable=False),
    )
    op.create_index("store_items_expiring", "store_items", ["expires"], sqlite_where=ROWS, postgresql_where=ROWS)
    op.create_index("store_items_by_age", "store_items", ["tenant", "updated", "namespace", "key"])


def downgrade() -> None:
    op.drop_table("store_items")
