"""The tables of billing."""

import sqlalchemy as sa
from graphmesh_chassis.database import UtcDateTime

metadata = sa.MetaData()

invoices = sa.Table(
    "invoices",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("invoice_id", sa.String(64), primary_key=True),
    sa.Column("customer_id", sa.String(64), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("lines", sa.JSON, nullable=False),
    sa.Column("total", sa.BigInteger, nullable=False),
    sa.Column("outstanding", sa.BigInteger, nullable=False),
    sa.Column("refunded", sa.BigInteger, nullable=False),
    sa.Column("credited", sa.BigInteger, nullable=False),
    sa.Column("issued", UtcDateTime, nullable=False),
    sa.CheckConstraint("outstanding >= 0 AND outstanding <= total", name="invoices_outstanding"),
    sa.CheckConstraint("refunded >= 0 AND credited >= 0 AND refunded + credited <= total", name="invoices_refunded"),
    sa.Index("invoices_by_customer", "tenant", "customer_id", "issued", "invoice_id"),
)
charges = sa.Table(
    "charges",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("charge_id", sa.String(64), primary_key=True),
    sa.Column("invoice_id", sa.String(64), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("refunded", sa.BigInteger, nullable=False),
    sa.Column("charged_back", sa.BigInteger, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.CheckConstraint(
        "refunded >= 0 AND charged_back >= 0 AND refunded + charged_back <= amount", name="charges_refunded"
    ),
    sa.Index("charges_by_invoice", "tenant", "invoice_id", "created"),
)
refunds = sa.Table(
    "refunds",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("refund_id", sa.String(64), primary_key=True),
    sa.Column("charge_id", sa.String(64), nullable=False),
    sa.Column("invoice_id", sa.String(64), nullable=False),
    sa.Column("customer_id", sa.String(64), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("cause", sa.String(500), nullable=False),
    sa.Column("policy_version", sa.BigInteger, nullable=False),
    sa.Column("approval_id", sa.String(255)),
    sa.Column("policy_exception", sa.String(500), nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Index("refunds_by_charge", "tenant", "charge_id", "created"),
    sa.Index("refunds_by_customer", "tenant", "customer_id", "created"),
    sa.Index("refunds_by_approval", "tenant", "approval_id", unique=True),
)
refund_lines = sa.Table(
    "refund_lines",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("refund_id", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("invoice_id", sa.String(64), nullable=False),
    sa.Column("line_id", sa.String(64), nullable=False),
    sa.Column("quantity", sa.BigInteger, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("tax", sa.BigInteger, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Index("refund_lines_by_line", "tenant", "invoice_id", "line_id", "created"),
)
credit_notes = sa.Table(
    "credit_notes",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("credit_note_id", sa.String(64), primary_key=True),
    sa.Column("invoice_id", sa.String(64), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("cause", sa.String(500), nullable=False),
    sa.Column("lines", sa.JSON, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Index("credit_notes_by_invoice", "tenant", "invoice_id", "created"),
)
refund_policies = sa.Table(
    "refund_policies",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("rules", sa.JSON, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
)
"""All versions of each tenant's policy."""
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
entries = sa.Table(
    "entries",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("tenant", sa.String(63), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("reference", sa.String(64), nullable=False),
    sa.Column("invoice_id", sa.String(64), nullable=False),
    sa.Column("customer_id", sa.String(64), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Index("entries_by_customer", "tenant", "customer_id", "currency", "created", "id"),
)
"""The journal: one row an event. Its postings have its reference."""
postings = sa.Table(
    "postings",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("tenant", sa.String(63), nullable=False),
    sa.Column("debit", sa.String(32), nullable=False),
    sa.Column("credit", sa.String(32), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("reference", sa.String(64), nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.CheckConstraint("amount > 0", name="postings_amount"),
    sa.Index("postings_by_tenant", "tenant"),
)
