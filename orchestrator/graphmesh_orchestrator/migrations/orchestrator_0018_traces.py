"""The place of a run in its trace, so that whoever executes it continues the trace."""

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0018"
down_revision = "orchestrator_0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("trace", sa.String(100), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("runs", "trace")
