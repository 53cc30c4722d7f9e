"""The namespaces of events: the subgraphs that they are of."""

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0011"
down_revision = "orchestrator_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run_events", sa.Column("namespace", sa.JSON, nullable=False, server_default=sa.text("'[]'")))


def downgrade() -> None:
    op.drop_column("run_events", "namespace")
