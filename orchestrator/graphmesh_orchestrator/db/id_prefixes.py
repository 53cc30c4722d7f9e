"""Conditions on the beginning of an id."""

import sqlalchemy as sa

BEHIND_DIGITS = "g"
"""Sorts behind every hexadecimal digit, in every collation."""


def begins_with(column: sa.ColumnElement[str], prefix: str) -> list[sa.ColumnElement[bool]]:
    """Return the conditions that an id of hexadecimal digits begins with `prefix`: a range of the index on the column.

    An empty prefix has no conditions.
    """
    return [column >= prefix, column < prefix + BEHIND_DIGITS] if prefix else []
