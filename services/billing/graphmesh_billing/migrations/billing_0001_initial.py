"""Invoices, charges, refunds and the ledger's postings."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.database import UtcDateTime

revision = "billing_0001"
down_revision = None
branch_labels = ("billing",)
depends_on = None

TENANT = sa.String(63)
ID = sa.String(64)


def upgrade() -> None:
    op.create_table(
        "invoices",
        sa.Column("tenant", TENANT, primary_key=True),
        sa.Column("invoice_id", ID, primary_key=True),
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("lines", sa.JSON, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("outstanding", sa.BigInteger, nullable=False),
        sa.Column("issued", UtcDateTime, nullable=False),
        sa.CheckConstraint("outstanding >= 0 AND outstanding <= total", name="invoices_outstanding"),
    )
    op.create_index("invoices_by_customer", "invoices", ["tenant", "customer_id", "issued", "invoice_id"])
    op.create_table(
        "charges",
        sa.Column("tenant", TENANT, primary_key=True),
        sa.Column("charge_id", ID, primary_key=True),
        sa.Column("invoice_id", ID, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("refunded", sa.BigInteger, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.CheckConstraint("refunded >= 0 AND refunded <= amount", name="charges_refunded"),
    )
    op.create_index("charges_by_invoice", "charges", ["tenant", "invoice_id", "created"])
    op.create_table(
        "refunds",
        sa.Column("tenant", TENANT, primary_key=True),
        sa.Column("refund_id", ID, primary_key=True),
        sa.Column("charge_id", ID, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("cause", sa.String(500), nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
    )
    op.create_index("refunds_by_charge", "refunds", ["tenant", "charge_id", "created"])
    op.create_table(
        "postings",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("tenant", TENANT, nullable=False),
        sa.Column("debit", sa.String(32), nullable=False),
        sa.Column("credit", sa.String(32), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("reference", ID, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.CheckConstraint("amount > 0", name="postings_amount"),
    )
    op.create_index("postings_by_tenant", "postings", ["tenant"])


def downgrade() -> None:
    for table in ("postings", "refunds", "charges", "invoices"):
        op.drop_table(table)
