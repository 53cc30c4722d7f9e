"""The stream modes of runs: what their events have."""

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0013"
down_revision = "orchestrator_0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("stream_modes", sa.JSON(none_as_null=True)))


def downgrade() -> None:
    op.drop_column("runs", "stream_modes")
