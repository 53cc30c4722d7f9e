"""The context, the configurable and the breakpoints of a run."""

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0008"
down_revision = "orchestrator_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("context", sa.JSON(none_as_null=True)))
    op.add_column("runs", sa.Column("configurable", sa.JSON(none_as_null=True)))
    op.add_column("runs", sa.Column("breakpoints", sa.JSON(none_as_null=True)))


def downgrade() -> None:
    op.drop_column("runs", "breakpoints")
    op.drop_column("runs", "configurable")
    op.drop_column("runs", "context")
