"""Values that are stored as what they add to another one."""

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0006"
down_revision = "orchestrator_0005"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("artifacts", sa.Column("base", KEY))


def downgrade() -> None:
    op.drop_column("artifacts", "base")
