"""What callers think of runs."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.database import UtcDateTime

revision = "orchestrator_0017"
down_revision = "orchestrator_0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run_feedback",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("subject", sa.String(255), primary_key=True),
        sa.Column("score", sa.Float, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("time", UtcDateTime, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("run_feedback")
