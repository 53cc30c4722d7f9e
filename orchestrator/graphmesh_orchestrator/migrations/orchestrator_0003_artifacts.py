"""What is stored once and referred to: big values of checkpoints, and what graphs put aside."""

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0003"
down_revision = "orchestrator_0002"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
REFERRING = ("checkpoints", "task_writes")


def upgrade() -> None:
    op.create_table(
        "artifacts",
        sa.Column("thread_id", KEY, primary_key=True),
        sa.Column("name", KEY, primary_key=True),
        sa.Column("media_type", sa.String(255), nullable=False),
        sa.Column("stamp", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    for table in REFERRING:
        op.add_column(table, sa.Column("refers", sa.JSON(none_as_null=True)))


def downgrade() -> None:
    for table in REFERRING:
        op.drop_column(table, "refers")
    op.drop_table("artifacts")
