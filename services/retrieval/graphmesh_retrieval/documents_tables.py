"""The tables of retrieval, which are the same on SQLite and PostgreSQL."""

from typing import Final

import sqlalchemy as sa
from graphmesh_chassis.database import UtcDateTime

metadata = sa.MetaData()
NUMBER: Final = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""A key that SQLite stores as the row's id."""

corpora = sa.Table(
    "corpora",
    metadata,
    sa.Column("corpus", sa.Integer, primary_key=True),
    sa.Column("tenant", sa.String),
    sa.Column("next_number", sa.BigInteger),
    sa.Column("passages", sa.BigInteger),
    sa.Column("length", sa.BigInteger),
    sa.Column("languages", sa.JSON),
    sa.Column("dead", sa.BigInteger),
    sa.Column("gone", sa.BigInteger),
    sa.Column("restricted", sa.BigInteger),
    sa.Column("compactions", sa.Integer),
    sa.Column("empty_blocks", sa.JSON),
    sa.Index("corpora_by_tenant", "tenant", unique=True),
)
documents = sa.Table(
    "documents",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("tenant", sa.String),
    sa.Column("document_id", sa.String),
    sa.Column("version", sa.Integer),
    sa.Column("title", sa.String),
    sa.Column("uri", sa.String),
    sa.Column("attributes", sa.JSON),
    sa.Column("format", sa.Integer),
    sa.Column("language", sa.String),
    sa.Column("readers", sa.JSON),
    sa.Column("digest", sa.String),
    sa.Column("first_number", sa.BigInteger),
    sa.Column("passage_count", sa.Integer),
    sa.Column("update_time", UtcDateTime),
    sa.Column("end_time", UtcDateTime),
    sa.Column("text", sa.String),
    sa.Index("documents_by_version", "tenant", "document_id", "version", unique=True),
    sa.Index("current_documents", "tenant", "document_id", unique=True),
)
passages = sa.Table(
    "passages",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("document", NUMBER),
    sa.Column("ordinal", sa.Integer),
    sa.Column("start", sa.Integer),
    sa.Column("headings", sa.JSON),
    sa.Column("text", sa.String),
)
postings = sa.Table(
    "postings",
    metadata,
    sa.Column("corpus", sa.Integer, primary_key=True),
    sa.Column("block", sa.Integer, primary_key=True),
    sa.Column("term", sa.BigInteger, primary_key=True),
    sa.Column("size", sa.Integer),
    sa.Column("entries", sa.LargeBinary),
)
vectors = sa.Table(
    "vectors",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("embedder", sa.String),
    sa.Column("vector", sa.LargeBinary),
)
NUMBERS_OF_CORPUS: Final = 2**32
"""Numbers of passages that a corpus can have. The id of a passage is its corpus times this, plus its number."""
