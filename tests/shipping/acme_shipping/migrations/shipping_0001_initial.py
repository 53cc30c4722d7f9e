"""The table of parcels."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.database import UtcDateTime

revision = "shipping_0001"
down_revision = None
branch_labels = ("shipping",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "parcels",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("parcel_id", sa.String(64), primary_key=True),
        sa.Column("order_id", sa.String(40), nullable=False),
        sa.Column("city", sa.String(100), nullable=False),
        sa.Column("shipped", UtcDateTime, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("parcels")
