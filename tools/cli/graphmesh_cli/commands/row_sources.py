"""The sources of an import's rows: JSON Lines and SQLite queries, read row by row."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

JSON_COLUMN = ":json"
"""The suffix of a column whose text is JSON: a list, a map or a message."""


@dataclass(frozen=True)
class Row:
    """One request, in the JSON form of its message."""

    number: int
    """The line of the file, or the row of the query's result; from 1."""
    content: Any
    fault: str = ""
    """The reason why it has no content."""


def jsonl(path: Path) -> Iterator[Row]:
    """Yield the lines of a file; empty ones are skipped. Raises OSError."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield Row(number, json.loads(line))
            except (ValueError, RecursionError) as error:
                yield Row(number, None, f"not JSON: {error}")


def sqlite(path: Path, query: str) -> Iterator[Row]:
    """Yield the rows of a read-only query. Columns are fields: `unit_price.amount_minor`, `lines:json`.

    Raises:
        sqlite3.Error: the file is not a database, or the query is invalid.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        found = database.execute(query)
        columns = [column[0] for column in found.description or ()]
        for number, values in enumerate(found, start=1):
            try:
                yield Row(number, nested(dict(zip(columns, values, strict=True))))
            except ValueError as error:
                yield Row(number, None, str(error))


def nested(columns: dict[str, Any]) -> dict[str, Any]:
    """Convert a row of a query to the JSON form of a message: dots nest, NULL omits the field.

    Raises:
        ValueError: the text of a `:json` column is not JSON, or two columns set the same field.
    """
    message: dict[str, Any] = {}
    for name, value in columns.items():
        if value is None:
            continue
        *parents, field = name.removesuffix(JSON_COLUMN).split(".")
        parent = message
        for key in parents:
            parent = parent.setdefault(key, {})
            if not isinstance(parent, dict):
                raise ValueError(f"the column {name} is inside a field that another column sets")
        if field in parent:
            raise ValueError(f"the column {name} sets a field that another column sets")
        parent[field] = _parsed(name, value) if name.endswith(JSON_COLUMN) else value
    return message


def _parsed(name: str, text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the column {name} is not JSON: {error}") from error
