"""The table of the items of the store."""

import sqlalchemy as sa
from graphmesh_chassis.database import UtcDateTime

from graphmesh_orchestrator.db.tables import Key, metadata

store_items = sa.Table(
    "store_items",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("namespace", Key, primary_key=True),
    sa.Column("key", Key, primary_key=True),
    sa.Column("value", sa.JSON, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("updated", UtcDateTime, nullable=False),
    sa.Column("ttl", sa.Float),
    sa.Column("expires", sa.Float, nullable=False),
    sa.Column("vectors", sa.LargeBinary),
)
"""`namespace` has each label followed by `SEPARATOR`, so that the items below a namespace are a range of the key.

`ttl` is in minutes, null for none. `expires` is in seconds since 1970 of the database's clock; 0: never.
`vectors` has the vectors of its texts, as floats of 32 bits; null for none.
"""
SEPARATOR = "\x1f"
"""Less than any character of a label: encoded namespaces have the order of their labels."""
HAS_EXPIRY = store_items.c.expires > sa.literal_column("0")
_EXPIRING_ROWS = sa.text("expires > 0")
sa.Index(
    "store_items_expiring",
    store_items.c.expires,
    sqlite_where=_EXPIRING_ROWS,
    postgresql_where=_EXPIRING_ROWS,
)
sa.Index("store_items_by_age", store_items.c.tenant, store_items.c.updated, store_items.c.namespace, store_items.c.key)
