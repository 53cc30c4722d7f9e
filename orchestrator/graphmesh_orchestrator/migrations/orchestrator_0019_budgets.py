"""What the runs of tenants have used in a day."""

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0019"
down_revision = "orchestrator_0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "daily_usage",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("day", sa.BigInteger, primary_key=True),
        sa.Column("steps", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
        sa.Column("effects", sa.BigInteger, nullable=False),
    )
    op.create_index("daily_usage_by_day", "daily_usage", ["day"])


def downgrade() -> None:
    op.drop_table("daily_usage")
