"""Conditions on the beginning of an id."""

import sqlalchemy as sa

BEHIND_DIGITS = "g"
"""Sorts behind every hexadecimal digit, in every collation."""


def begins_with(column: sa.ColumnElement[str], prefix: str) -> list[sa.ColumnElement[bool]]:
    """Return the conditions that an id of hexadecimal digits begins with `prefix`: a range of the index on the column.

    A collation of a language has other texts in that range, such as those with another sign in place of `_`. An empty
    prefix has no conditions.
    """
    if not prefix:
        return []
    return [column >= prefix, column < prefix + BEHIND_DIGITS, sa.func.substr(column, 1, len(prefix)) == prefix]
