"""The waiting runs of a tenant, which are counted for each further one."""

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0014"
down_revision = "orchestrator_0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "runs_waiting_by_tenant",
        "runs",
        ["tenant"],
        sqlite_where=sa.text("status = 'pending' AND holds_thread = 0"),
        postgresql_where=sa.text("status = 'pending' AND NOT holds_thread"),
    )


def downgrade() -> None:
    op.drop_index("runs_waiting_by_tenant", "runs")
