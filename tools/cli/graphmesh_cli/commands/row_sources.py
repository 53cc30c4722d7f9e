"""Where the rows of an import come from; each is read when it is its turn."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

JSON_COLUMN = ":json"
"""How a column's name ends whose text is JSON: a list, a map or a message."""


@dataclass(frozen=True)
class Row:
    """One request, in the JSON form of its message."""

    number: int
    """The line of the file, or the place in the query's result; from 1."""
    content: Any
    fault: str = ""
    """Why it has no content."""


def jsonl(path: Path) -> Iterator[Row]:
    """The lines of a file; empty ones are skipped. Raises OSError."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield Row(number, json.loads(line))
            except (ValueError, RecursionError) as error:
                yield Row(number, None, f"not JSON: {error}")


def sqlite(path: Path, query: str) -> Iterator[Row]:
    """The rows of a query, which can only read. Columns are fields: `unit_price.amount_minor`, `lines:json`.

    Raises:
        sqlite3.Error: the file is no database, or the query is wrong.
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
    """A row of a query as the JSON form of a message: dots nest, NULL leaves the field out.

    Raises:
        ValueError: the text of a `:json` column is not JSON, or two columns claim the same field.
    """
    made: dict[str, Any] = {}
    for name, value in columns.items():
        if value is None:
            continue
        *around, field = name.removesuffix(JSON_COLUMN).split(".")
        inside = made
        for part in around:
            inside = inside.setdefault(part, {})
            if not isinstance(inside, dict):
                raise ValueError(f"the column {name} lies inside of a field that another column sets")
        if field in inside:
            raise ValueError(f"the column {name} sets a field that another column sets")
        inside[field] = _parsed(name, value) if name.endswith(JSON_COLUMN) else value
    return made


def _parsed(name: str, text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the column {name} is not JSON: {error}") from error
