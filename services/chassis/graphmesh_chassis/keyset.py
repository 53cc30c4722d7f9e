"""Keyset pagination: a page begins at a sort key, not at an offset, so that late pages cost no more than early ones."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


def keyset_page(
    query: sa.Select[Any],
    key: Sequence[sa.ColumnElement[Any]],
    position: Sequence[Any] | None,
    limit: int,
    *,
    descending: bool = False,
) -> sa.Select[Any]:
    """The first `limit` rows of `query` behind `position`, in the order of `key`.

    Args:
        key: columns that together are unique; an index on them serves both order and position.
        position: the values of `key` in the last row of the page before; None for the first page.
    """
    if position is not None:
        # As literals of the columns' types: UtcDateTime converts times to what the database stores.
        last = sa.tuple_(*(sa.literal(value, column.type) for value, column in zip(position, key, strict=True)))
        query = query.where(sa.tuple_(*key) < last if descending else sa.tuple_(*key) > last)
    return query.order_by(*(column.desc() if descending else column for column in key)).limit(limit)
