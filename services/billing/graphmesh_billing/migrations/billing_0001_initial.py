"""Invoices, charges, refunds, credit notes, refund policies, the journal and the ledger's postings."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.database import UtcDateTime

revision = "billing_0001"
down_revision = None
branch_labels = ("billing",)
depends_on = None

TENANT = sa.String(63)
ID = sa.String(64)
NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


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
        sa.Column("refunded", sa.BigInteger, nullable=False),
        sa.Column("credited", sa.BigInteger, nullable=False),
        sa.Column("issued", UtcDateTime, nullable=False),
        sa.CheckConstraint("outstanding >= 0 AND outstanding <= total", name="invoices_outstanding"),
        sa.CheckConstraint(
            "refunded >= 0 AND credited >= 0 AND refunded + credited <= total", name="invoices_refunded"
        ),
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
        sa.Column("charged_back", sa.BigInteger, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.CheckConstraint(
            "refunded >= 0 AND charged_back >= 0 AND refunded + charged_back <= amount", name="charges_refunded"
        ),
    )
    op.create_index("charges_by_invoice", "charges", ["tenant", "invoice_id", "created"])
    _create_refunds()
    op.create_table(
        "credit_notes",
        sa.Column("tenant", TENANT, primary_key=True),
        sa.Column("credit_note_id", ID, primary_key=True),
        sa.Column("invoice_id", ID, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("cause", sa.String(500), nullable=False),
        sa.Column("lines", sa.JSON, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
    )
    op.create_index("credit_notes_by_invoice", "credit_notes", ["tenant", "invoice_id", "created"])
    op.create_table(
        "refund_policies",
        sa.Column("tenant", TENANT, primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("rules", sa.JSON, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
    )
    _create_journal()


def _create_refunds() -> None:
    op.create_table(
        "refunds",
        sa.Column("tenant", TENANT, primary_key=True),
        sa.Column("refund_id", ID, primary_key=True),
        sa.Column("charge_id", ID, nullable=False),
        sa.Column("invoice_id", ID, nullable=False),
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("cause", sa.String(500), nullable=False),
        sa.Column("policy_version", sa.BigInteger, nullable=False),
        sa.Column("approval_id", sa.String(255)),
        sa.Column("policy_exception", sa.String(500), nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
    )
    op.create_index("refunds_by_charge", "refunds", ["tenant", "charge_id", "created"])
    op.create_index("refunds_by_customer", "refunds", ["tenant", "customer_id", "created"])
    op.create_index("refunds_by_approval", "refunds", ["tenant", "approval_id"], unique=True)
    op.create_table(
        "refund_lines",
        sa.Column("tenant", TENANT, primary_key=True),
        sa.Column("refund_id", ID, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("invoice_id", ID, nullable=False),
        sa.Column("line_id", ID, nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("tax", sa.BigInteger, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
    )
    op.create_index("refund_lines_by_line", "refund_lines", ["tenant", "invoice_id", "line_id", "created"])


def _create_journal() -> None:
    op.create_table(
        "entries",
        sa.Column("id", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("tenant", TENANT, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("reference", ID, nullable=False),
        sa.Column("invoice_id", ID, nullable=False),
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
    )
    op.create_index("entries_by_customer", "entries", ["tenant", "customer_id", "currency", "created", "id"])
    op.create_table(
        "postings",
        sa.Column("id", NUMBER, primary_key=True, autoincrement=True),
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
    for table in ("postings", "entries", "refund_policies", "credit_notes"):
        op.drop_table(table)
    for table in ("refund_lines", "refunds", "charges", "invoices"):
        op.drop_table(table)
