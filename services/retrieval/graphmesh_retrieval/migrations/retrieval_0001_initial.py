"""Documents, their passages, and the index over the passages' terms."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.database import UtcDateTime

revision = "retrieval_0001"
down_revision = None
branch_labels = ("retrieval",)
depends_on = None

# Ordered by code points, as SQLite orders text; PostgreSQL's default collation is that of a language.
_ID = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")

# FTS5 stores only the index; `passages` stores the content, and the triggers keep both consistent.
_SQLITE = (
    "CREATE VIRTUAL TABLE passage_index USING fts5(terms, content='passages', content_rowid='id', tokenize='ascii')",
    """CREATE TRIGGER passage_added AFTER INSERT ON passages BEGIN
        INSERT INTO passage_index(rowid, terms) VALUES (new.id, new.terms);
    END""",
    """CREATE TRIGGER passage_removed AFTER DELETE ON passages BEGIN
        INSERT INTO passage_index(passage_index, rowid, terms) VALUES ('delete', old.id, old.terms);
    END""",
)
_POSTGRESQL = (
    """ALTER TABLE passages ADD COLUMN lexemes tsvector
        GENERATED ALWAYS AS (array_to_tsvector(string_to_array(terms, ' '))) STORED""",
    "CREATE INDEX passages_by_lexeme ON passages USING gin (lexemes)",
)


def upgrade() -> None:
    op.create_table(
        "documents",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("document_id", _ID, primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("passage_count", sa.Integer, nullable=False),
        sa.Column("term_count", sa.Integer, nullable=False),
        sa.Column("update_time", UtcDateTime, nullable=False),
    )
    op.create_table(
        "passages",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("document_id", _ID, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("headings", sa.JSON, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("terms", sa.Text, nullable=False),
        sa.UniqueConstraint("tenant", "document_id", "ordinal"),
        sa.ForeignKeyConstraint(["tenant", "document_id"], ["documents.tenant", "documents.document_id"]),
    )
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE passage_index")
    op.drop_table("passages")
    op.drop_table("documents")
