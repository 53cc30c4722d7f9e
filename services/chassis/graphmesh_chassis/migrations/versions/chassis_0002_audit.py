"""The audit log and the end of its chain of hashes."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.audit_chain import FIRST_HASH
from graphmesh_chassis.database import UtcDateTime

revision = "chassis_0002"
down_revision = "chassis_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("entry_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("method", sa.String(255), nullable=False),
        sa.Column("result", sa.String(255), nullable=False),
        sa.Column("detail", sa.String(255), nullable=False),
        sa.Column("run", sa.String(255), nullable=False),
        sa.Column("thread", sa.String(255), nullable=False),
        sa.Column("node", sa.String(255), nullable=False),
        sa.Column("epoch", sa.BigInteger),
        sa.Column("approval", sa.String(255), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("content", sa.LargeBinary),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("number", sa.BigInteger),
        sa.Column("hash", sa.LargeBinary),
    )
    unsealed = sa.text("number IS NULL")
    op.create_index("audit_log_unsealed", "audit_log", ["entry_id"], sqlite_where=unsealed, postgresql_where=unsealed)
    op.create_index("audit_log_by_number", "audit_log", ["number"], unique=True)
    end = op.create_table(
        "audit_chain",
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    op.bulk_insert(end, [{"number": 0, "hash": FIRST_HASH}])


def downgrade() -> None:
    op.drop_table("audit_chain")
    op.drop_table("audit_log")
