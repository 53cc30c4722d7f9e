"""Events in batches, as the messages that streams send. The events of earlier runs are dropped."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.database import UtcDateTime

revision = "orchestrator_0015"
down_revision = "orchestrator_0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("run_events")
    op.create_table(
        "run_events",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("last_seq", sa.BigInteger, primary_key=True),
        sa.Column("kinds", sa.LargeBinary, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("run_events")
    op.create_table(
        "run_events",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True),
        sa.Column("time", UtcDateTime, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("node", sa.String(255), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("namespace", sa.JSON, nullable=False, server_default=sa.text("'[]'")),
    )
