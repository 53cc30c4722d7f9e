"""Sources of an import's rows: lines of a file, rows of a query."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from graphmesh_cli.commands.row_sources import Row, jsonl, nested, sqlite


def test_dotted_columns_are_nested_fields() -> None:
    """NULL omits a field; only a `:json` column is parsed."""
    columns = {"name": "[x]", "email": None, "attributes.city": "Bergen", "price.units": 3, "lines:json": '[{"a": 1}]'}
    assert nested(columns) == {
        "name": "[x]",
        "attributes": {"city": "Bergen"},
        "price": {"units": 3},
        "lines": [{"a": 1}],
    }


@pytest.mark.parametrize(
    "columns",
    [
        {"price": 1, "price.units": 1},
        {"price.units": 1, "price:json": "{}"},
        {"lines:json": "[1"},
        {"lines:json": 1.5j},
    ],
)
def test_an_error_names_the_invalid_column(columns: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=list(columns)[-1]):
        nested(columns)


def test_an_invalid_line_is_a_single_faulty_row(tmp_path: Path) -> None:
    """The lines before and after it are read; rows have the numbers of their lines, counting empty ones."""
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"a": 1}\n\n{"a": \n"\xff"\n' + b"[" * 100_000 + b'\n{"a": 2}')
    first, *bad, last = jsonl(file)
    assert (first, last) == (Row(1, {"a": 1}), Row(6, {"a": 2}))
    assert [(row.number, row.fault[:8]) for row in bad] == [(3, "not JSON"), (4, "not JSON"), (5, "not JSON")]


def test_a_query_is_read_only(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE customer (id, name)")
        database.execute("INSERT INTO customer VALUES (7, 'Mira'), (8, NULL)")
    assert list(sqlite(path, "SELECT id, name FROM customer ORDER BY id")) == [
        Row(1, {"id": 7, "name": "Mira"}),
        Row(2, {"id": 8}),
    ]
    for query in ("DELETE FROM customer", "SELECT 1; SELECT 2", "SELECT nothing FROM customer"):
        with pytest.raises((sqlite3.Error, sqlite3.Warning)):
            list(sqlite(path, query))
    with pytest.raises(sqlite3.Error, match="unable to open"):
        list(sqlite(tmp_path / "none.db", "SELECT 1"))
