"""Tickets, their comments, the last ticket number and the ticket policy of each tenant."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.database import UtcDateTime

revision = "ticketing_0001"
down_revision = None
branch_labels = ("ticketing",)
depends_on = None

TENANT = sa.String(63)
ID = sa.String(64)


def upgrade() -> None:
    op.create_table(
        "tickets",
        sa.Column("tenant", TENANT, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("customer_id", ID, nullable=False),
        sa.Column("requester", sa.String(254), nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("queue", sa.String(32), nullable=False),
        sa.Column("priority", sa.String(32), nullable=False),
        sa.Column("notify", sa.JSON, nullable=False),
        sa.Column("assignee", sa.String(254), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("updated", UtcDateTime, nullable=False),
        sa.Column("response_due", UtcDateTime),
        sa.Column("resolution_due", UtcDateTime),
        sa.Column("responded", UtcDateTime),
        sa.Column("due", UtcDateTime, nullable=False),
        sa.Column("searched", sa.Text, nullable=False),
    )
    op.create_index("tickets_by_age", "tickets", ["tenant", "created", "number"])
    op.create_index("tickets_by_customer", "tickets", ["tenant", "customer_id", "created"])
    op.create_index("tickets_by_due", "tickets", ["tenant", "due", "number"])
    op.create_index("tickets_by_queue", "tickets", ["tenant", "queue", "due", "number"])
    op.create_table(
        "comments",
        sa.Column("tenant", TENANT, primary_key=True),
        sa.Column("comment_id", ID, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("author", sa.String(254), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("internal", sa.Boolean, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
    )
    op.create_index("comments_by_ticket", "comments", ["tenant", "number", "created", "comment_id"])
    op.create_table(
        "numbers",
        sa.Column("tenant", TENANT, primary_key=True),
        sa.Column("last", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "ticket_policies",
        sa.Column("tenant", TENANT, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("policy", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    for table in ("ticket_policies", "numbers", "comments", "tickets"):
        op.drop_table(table)
