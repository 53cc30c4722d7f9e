"""Customers, their changes and their records."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.database import UtcDateTime

revision = "crm_0001"
down_revision = None
branch_labels = ("crm",)
depends_on = None

TENANT = sa.String(63)
ID = sa.String(64)


def upgrade() -> None:
    op.create_table(
        "customers",
        sa.Column("tenant", TENANT, primary_key=True),
        sa.Column("customer_id", ID, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("phone", sa.String(50), nullable=False),
        sa.Column("company", sa.String(200), nullable=False),
        sa.Column("tier", sa.String(16), nullable=False),
        sa.Column("locale", sa.String(35), nullable=False),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("updated", UtcDateTime, nullable=False),
        sa.Column("searched", sa.Text, nullable=False),
        sa.Column("email_key", sa.Text, nullable=False),
    )
    op.create_index("customers_by_age", "customers", ["tenant", "created", "customer_id"])
    op.create_index("customers_by_email", "customers", ["tenant", "email_key"])
    op.create_table(
        "changes",
        sa.Column("tenant", TENANT, primary_key=True),
        sa.Column("customer_id", ID, primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("field", sa.String(80), primary_key=True),
        sa.Column("old", sa.String(500), nullable=False),
        sa.Column("new", sa.String(500), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("changed", UtcDateTime, nullable=False),
    )
    op.create_table(
        "records",
        sa.Column("tenant", TENANT, primary_key=True),
        sa.Column("record_id", ID, primary_key=True),
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("title", sa.String(500), nullable=False),
        sa.Column("status", sa.String(50), nullable=False),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("occurred", UtcDateTime, nullable=False),
    )
    op.create_index("records_by_customer", "records", ["tenant", "customer_id", "occurred", "record_id"])


def downgrade() -> None:
    for table in ("records", "changes", "customers"):
        op.drop_table(table)
