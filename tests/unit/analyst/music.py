"""A small music shop in a database, behind a twin of the service sql, and a harness of the analyst on it."""

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from analyst.graph import graph
from graphmesh.model.v1 import Prompt
from graphmesh.sql import v1 as sql
from graphmesh_nodes.errors import RuleViolated
from graphmesh_nodes.testing import GraphHarness

SHOP = """
CREATE TABLE Artist (ArtistId INTEGER PRIMARY KEY, Name TEXT);
CREATE TABLE Album (AlbumId INTEGER PRIMARY KEY, Title TEXT, ArtistId INTEGER REFERENCES Artist (ArtistId));
CREATE TABLE Track (TrackId INTEGER PRIMARY KEY, Name TEXT, AlbumId INTEGER REFERENCES Album (AlbumId),
    Milliseconds INTEGER, UnitPrice NUMERIC(10,2));
CREATE TABLE Playlist (PlaylistId INTEGER PRIMARY KEY, Name TEXT);
CREATE TABLE PlaylistTrack (PlaylistId INTEGER REFERENCES Playlist (PlaylistId),
    TrackId INTEGER REFERENCES Track (TrackId), PRIMARY KEY (PlaylistId, TrackId));
CREATE TABLE Employee (EmployeeId INTEGER PRIMARY KEY, FirstName TEXT, LastName TEXT, HireDate DATETIME,
    BirthDate DATETIME);
CREATE TABLE Customer (CustomerId INTEGER PRIMARY KEY, FirstName TEXT, LastName TEXT, Country TEXT,
    SupportRepId INTEGER REFERENCES Employee (EmployeeId));
CREATE TABLE Invoice (InvoiceId INTEGER PRIMARY KEY, CustomerId INTEGER REFERENCES Customer (CustomerId),
    InvoiceDate DATETIME, BillingCountry TEXT, Total NUMERIC(10,2));
CREATE TABLE InvoiceLine (InvoiceLineId INTEGER PRIMARY KEY, InvoiceId INTEGER REFERENCES Invoice (InvoiceId),
    TrackId INTEGER REFERENCES Track (TrackId), UnitPrice NUMERIC(10,2), Quantity INTEGER, Returned BOOLEAN);
INSERT INTO Artist VALUES (1, 'Wren'), (2, 'The Herons'), (3, 'Moss');
INSERT INTO Album VALUES (1, 'Rain and Wind', 1), (2, 'Second', 1), (3, 'Fen', 2);
INSERT INTO Track VALUES (1, 'Rain and Wind', 1, 100000, 0.99), (2, 'Dusk', 1, 400000, 0.99),
    (3, 'Two', 2, 200000, 1.99),
    (4, 'Reed', 3, 700000, 0.99);
INSERT INTO Playlist VALUES (1, 'Calm'), (2, 'Storm');
INSERT INTO PlaylistTrack VALUES (1, 1), (1, 2), (1, 4), (2, 3);
INSERT INTO Employee VALUES (1, 'Jane', 'Reed', '2001-01-01', '1970-01-01'),
    (2, 'Otto', 'Fen', '2002-01-01', '1980-01-01');
INSERT INTO Customer VALUES (1, 'Ada', 'Berg', 'Norway', 1), (2, 'Elif', 'Kaya', 'Canada', 1),
    (3, 'Hugo', 'Roy', 'Canada', 2);
INSERT INTO Invoice VALUES (1, 1, '2025-03-05', 'Norway', 4.5), (2, 2, '2025-06-01', 'Canada', 10.25),
    (3, 3, '2026-06-30', 'Canada', 2.0), (4, 2, '2026-07-01', 'Canada', 1.0);
INSERT INTO InvoiceLine VALUES (1, 1, 1, 0.99, 1, 0), (2, 2, 3, 1.99, 2, 1), (3, 3, 4, 0.99, 3, 0);
"""
KINDS = (("BOOL", 1), ("INT", 2), ("NUM", 4), ("TEXT", 5), ("DATETIME", 8))


class Warehouse:
    """The service sql on the shop. Queries that write are refused."""

    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:")
        self.database.executescript(SHOP)
        self.queries: list[str] = []
        self.refused: Callable[[str], bool] = lambda query: not query.startswith("SELECT")

    def DescribeSchema(self, request: sql.DescribeSchemaRequest) -> sql.DescribeSchemaResponse:
        described = sql.DescribeSchemaResponse(dialect=sql.Dialect.DIALECT_SQLITE, prompt_text="Customer(Country)")
        for (name,) in self.database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1"):
            table = described.tables.add(name=name)
            for _, column, kind, _, _, key in self.database.execute(f'PRAGMA table_info("{name}")'):
                number = next(number for begin, number in KINDS if kind.startswith(begin))
                table.columns.add(name=column, type=sql.ColumnType.ValueType(number), database_type=kind)
                table.primary_key.extend([column] * bool(key))
            for _, _, other, column, referred, *_ in self.database.execute(f'PRAGMA foreign_key_list("{name}")'):
                table.foreign_keys.add(columns=[column], referred_table=other, referred_columns=[referred])
        return described

    def RunQuery(self, request: sql.RunQueryRequest) -> Iterator[sql.RunQueryResponse]:
        self.queries.append(request.query)
        if self.refused(request.query):
            raise RuleViolated("only SELECT", rule="read_only")
        values = [getattr(one, one.WhichOneof("kind") or "") for one in request.parameters]
        found = self.database.execute(re.sub(r"\$(\d+)", r"?\1", request.query), values)
        columns = [sql.ResultColumn(name=one[0]) for one in found.description]
        yield sql.RunQueryResponse(columns=sql.ResultColumns(columns=columns))
        rows = [sql.Row(values=map(value_of, row)) for row in found]
        yield sql.RunQueryResponse(rows=sql.ResultRows(rows=rows))
        yield sql.RunQueryResponse(summary=sql.ResultSummary(row_count=len(rows)))


def value_of(cell: Any) -> sql.Value:
    match cell:
        case None:
            return sql.Value(null_value=0)  # type: ignore[arg-type]  # the only value
        case int():
            return sql.Value(int64_value=cell)
        case float():
            return sql.Value(double_value=cell)
    return sql.Value(string_value=cell)


def harness_of(warehouse: Warehouse, *replies: Mapping[str, Any] | str | Callable[[Prompt], Any]) -> GraphHarness:
    """Return a harness whose model gives these replies, or is offline."""
    harness = GraphHarness(graph)
    harness.serve_all(sql.SqlService, warehouse)
    harness.model_replies(*(replies or (lambda prompt: "none",)), offline=not replies)
    return harness
