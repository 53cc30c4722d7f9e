"""Takeovers of runs without progress, and their effects whose outcome is open."""

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0005"
down_revision = "orchestrator_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("takeovers", sa.Integer, nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("open_effects", sa.JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("runs", "open_effects")
    op.drop_column("runs", "takeovers")
