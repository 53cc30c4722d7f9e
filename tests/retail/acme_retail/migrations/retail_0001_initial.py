"""The table of shops."""

import sqlalchemy as sa
from alembic import op

revision = "retail_0001"
down_revision = None
branch_labels = ("retail",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "shops",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("data", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("shops")
