"""Usage of models, the accounts of budgets, and open reservations."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.database import UtcDateTime

revision = "model_0001"
down_revision = None
branch_labels = ("model",)
depends_on = None

TENANT = sa.String(63)
RUN = sa.String(255)
ALIAS = sa.String(64)
MODEL = sa.String(300)
COUNTS = (
    "attempts",
    "failed_attempts",
    "cache_hits",
    "input_tokens",
    "cached_input_tokens",
    "cache_written_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "images",
    "cost",
    "estimated_tokens",
    "unpriced_tokens",
)


def upgrade() -> None:
    op.create_table(
        "usage",
        sa.Column("tenant", TENANT, primary_key=True),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("run", RUN, primary_key=True),
        sa.Column("alias", ALIAS, primary_key=True),
        sa.Column("model", MODEL, primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in COUNTS),
    )
    op.create_index("usage_by_day", "usage", ["day"])
    op.create_index("usage_by_run", "usage", ["tenant", "run"])
    op.create_table(
        "accounts",
        sa.Column("budget", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(320), primary_key=True),
        sa.Column("begin", UtcDateTime, primary_key=True),
        sa.Column("spent_cost", sa.BigInteger, nullable=False),
        sa.Column("reserved_cost", sa.BigInteger, nullable=False),
        sa.Column("spent_tokens", sa.BigInteger, nullable=False),
        sa.Column("reserved_tokens", sa.BigInteger, nullable=False),
        sa.Column("used", UtcDateTime, nullable=False),
    )
    op.create_index("accounts_by_use", "accounts", ["used"])
    op.create_table(
        "reservations",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("tenant", TENANT, nullable=False),
        sa.Column("run", RUN, nullable=False),
        sa.Column("alias", ALIAS, nullable=False),
        sa.Column("model", MODEL, nullable=False),
        sa.Column("begun", UtcDateTime, nullable=False),
        sa.Column("expires", UtcDateTime, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
        sa.Column("priced", sa.Boolean, nullable=False),
        sa.Column("accounts", sa.JSON, nullable=False),
    )
    op.create_index("reservations_by_expiry", "reservations", ["expires"])
