"""Documents in versions, their passages, and the inverted index over the passages' terms."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.database import UtcDateTime

revision = "retrieval_0001"
down_revision = None
branch_labels = ("retrieval",)
depends_on = None

# Ordered by code points, as SQLite orders text; PostgreSQL's default collation is that of a language.
_ID = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "corpora",
        sa.Column("corpus", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("next_number", sa.BigInteger, nullable=False),
        sa.Column("passages", sa.BigInteger, nullable=False),
        sa.Column("length", sa.BigInteger, nullable=False),
        sa.Column("languages", sa.JSON, nullable=False),
        sa.Column("dead", sa.BigInteger, nullable=False),
        sa.Column("gone", sa.BigInteger, nullable=False),
        sa.Column("restricted", sa.BigInteger, nullable=False),
        sa.Column("compactions", sa.Integer, nullable=False),
        sa.Column("empty_blocks", sa.JSON, nullable=False),
    )
    op.create_index("corpora_by_tenant", "corpora", ["tenant"], unique=True)
    op.create_table(
        "documents",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("document_id", _ID, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("format", sa.Integer, nullable=False),
        sa.Column("language", sa.String(3), nullable=False),
        sa.Column("readers", sa.JSON, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("first_number", sa.BigInteger, nullable=False),
        sa.Column("passage_count", sa.Integer, nullable=False),
        sa.Column("update_time", UtcDateTime, nullable=False),
        sa.Column("end_time", UtcDateTime),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_index("documents_by_version", "documents", ["tenant", "document_id", "version"], unique=True)
    current = sa.text("end_time IS NULL")
    op.create_index(
        "current_documents",
        "documents",
        ["tenant", "document_id"],
        unique=True,
        sqlite_where=current,
        postgresql_where=current,
    )
    op.create_table(
        "passages",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("document", _NUMBER, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("start", sa.Integer, nullable=False),
        sa.Column("headings", sa.JSON, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "postings",
        sa.Column("corpus", sa.Integer, primary_key=True),
        sa.Column("block", sa.Integer, primary_key=True),
        sa.Column("term", sa.BigInteger, primary_key=True),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("entries", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "vectors",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("embedder", sa.String(200), nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Postings hardly compress, and are read whole.
        op.execute("ALTER TABLE postings ALTER COLUMN entries SET STORAGE EXTERNAL")
        op.execute("ALTER TABLE postings SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)")


def downgrade() -> None:
    for table in ("vectors", "postings", "passages", "documents", "corpora"):
        op.drop_table(table)
