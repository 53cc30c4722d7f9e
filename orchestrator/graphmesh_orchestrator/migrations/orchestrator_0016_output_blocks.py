"""The blocks of the outputs of runs, which the runs of a thread share."""

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0016"
down_revision = "orchestrator_0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("output_blocks", sa.JSON(none_as_null=True)))


def downgrade() -> None:
    op.drop_column("runs", "output_blocks")
