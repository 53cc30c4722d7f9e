"""The log of checkpoints and of task writes."""

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0002"
down_revision = "orchestrator_0001"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("thread_id", KEY, primary_key=True),
        sa.Column("ns", KEY, primary_key=True),
        sa.Column("checkpoint_id", KEY, primary_key=True),
        sa.Column("parent_id", KEY),
        sa.Column("follows", KEY),
        sa.Column("run_id", KEY),
        sa.Column("stamp", sa.BigInteger, nullable=False),
        sa.Column("head", sa.LargeBinary),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("checkpoints_by_stamp", "checkpoints", ["thread_id", "ns", "stamp"])
    op.create_index("checkpoints_by_follows", "checkpoints", ["thread_id", "ns", "follows"], unique=True)
    op.create_index("checkpoints_by_run", "checkpoints", ["run_id"])
    op.create_table(
        "task_writes",
        sa.Column("thread_id", KEY, primary_key=True),
        sa.Column("ns", KEY, primary_key=True),
        sa.Column("checkpoint_id", KEY, primary_key=True),
        sa.Column("task_id", KEY, primary_key=True),
        sa.Column("stamp", sa.BigInteger, primary_key=True),
        sa.Column("task_path", KEY, nullable=False),
        sa.Column("run_id", KEY),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("task_writes_by_run", "task_writes", ["run_id"])


def downgrade() -> None:
    op.drop_table("task_writes")
    op.drop_table("checkpoints")
