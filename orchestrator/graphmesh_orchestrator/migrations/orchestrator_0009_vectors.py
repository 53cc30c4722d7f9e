"""The vectors of the items of the store."""

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0009"
down_revision = "orchestrator_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("store_items", sa.Column("vectors", sa.LargeBinary))


def downgrade() -> None:
    op.drop_column("store_items", "vectors")
