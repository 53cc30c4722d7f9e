"""Effects with their idempotency keys, fingerprints and outcomes, and the newest epoch of each run that made some."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.database import UtcDateTime

revision = "chassis_0001"
down_revision = None
branch_labels = ("chassis",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "effects",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("method", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("response", sa.LargeBinary),
        sa.Column("error", sa.LargeBinary),
        sa.Column("result", sa.String(255), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("held_until", UtcDateTime),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("run", sa.String(255), nullable=False),
        sa.Column("thread", sa.String(255), nullable=False),
        sa.Column("node", sa.String(255), nullable=False),
        sa.Column("epoch", sa.BigInteger),
        sa.Column("approval", sa.String(255), nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
    )
    op.create_index("effects_by_run", "effects", ["tenant", "run"])
    op.create_table(
        "run_epochs",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("run", sa.String(255), primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("run_epochs")
    op.drop_table("effects")
