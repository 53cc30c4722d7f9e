"""Calls of the service sql: the schema, a query, and where a phrase is a value of the data."""

import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from graphmesh.sql import v1 as sql
from graphmesh_nodes import call, stream

from analyst.plans import Unclear, quoted
from analyst.question import Question
from analyst.reading import parts_of
from analyst.schema import Column, Schema

Cell = str | float | int | bool | None
MAX_PROBED_PHRASES = 6
MAX_PROBED_COLUMNS = 60
MAX_CELL_CHARACTERS = 200
FEW_VALUES = 100
"""Columns with no more different values than these are categories, and not names."""
_LINK = re.compile(r"(?:[a-z][a-z0-9+.-]{1,20}:)?//\S+|www\.\S+|(?:javascript|data):\S+", re.I)


@dataclass(frozen=True)
class Result:
    """The rows of a query, and how they came about."""

    query: str
    columns: list[str]
    rows: list[list[Cell]]
    is_truncated: bool
    cached_seconds: float | None
    """The age of a result of the cache; None where the query was run."""
    is_preaggregated: bool


async def schema(role: str) -> Schema:
    return Schema.of(await call(sql.SqlService.DescribeSchema, sql.DescribeSchemaRequest(role=role)))


async def run(query: str, parameters: Sequence[str | float], role: str, max_rows: int) -> Result:
    """Run a query that the service permits. Raises GraphmeshError."""
    request = sql.RunQueryRequest(
        query=query, parameters=[_parameter(one) for one in parameters], role=role, max_rows=max_rows
    )
    columns, summary = sql.ResultColumns(), sql.ResultSummary()
    decimal: list[bool] = []
    rows: list[list[Cell]] = []
    async with aclosing(stream(sql.SqlService.RunQuery, request)) as responses:
        async for response in responses:
            match response.WhichOneof("part"):
                case "columns":
                    columns = response.columns
                    decimal = [one.type == sql.ColumnType.COLUMN_TYPE_DECIMAL for one in columns.columns]
                case "rows":
                    rows += [list(map(_cell, row.values, decimal)) for row in response.rows.rows]
                case "summary":
                    summary = response.summary
    cached = summary.cache_age.ToTimedelta().total_seconds() if summary.HasField("cache_age") else None
    names = [column.name for column in columns.columns]
    return Result(columns.query or query, names, rows, summary.truncated, cached, columns.fallback)


async def find_values(question: Question, schema: Schema, role: str, *, has_case: bool = True) -> None:
    """Find the unknown phrases of a question among the texts of the data.

    Without capitals, or in a language that writes ordinary words with them, a phrase may be an ordinary word as well.
    Then it is a value for sure of columns with few values only.

    Raises:
        Unclear: there are too many of them.
    """
    if len(question.unknown) > MAX_PROBED_PHRASES:
        raise Unclear("unknown", words=", ".join(question.unknown[:MAX_PROBED_PHRASES]))
    unknown, question.unknown = question.unknown, []
    for phrase in unknown:
        for part in [phrase] if await _find(phrase, question, schema, role) else parts_of(phrase):
            if part not in question.values and not await _find(part, question, schema, role):
                question.unknown.append(part)
    ordinary = [one for one in question.values if not has_case or not _is_name(one, question)]
    for phrase in ordinary:
        if not await _has_few_values([column for column, _ in question.values[phrase]], role):
            question.uncertain.add(phrase)


def _is_name(phrase: str, question: Question) -> bool:
    """Return whether a phrase has a capital or a digit, but for the first letter of the question."""
    is_first = bool(question.tokens) and phrase.startswith(question.tokens[0].rstrip("."))
    return any(char.isupper() or char.isdigit() for char in phrase[is_first:])


async def _has_few_values(columns: Sequence[Column], role: str) -> bool:
    counts = [
        f"(SELECT count(*) FROM (SELECT DISTINCT {quoted(one)} FROM {quoted(one.table)} LIMIT {FEW_VALUES + 1}) AS d)"
        for one in columns
    ]
    result = await run(f"SELECT {', '.join(f'{count} AS c{n}' for n, count in enumerate(counts))}", [], role, 1)
    return all(int(str(count)) <= FEW_VALUES for count in result.rows[0])


async def _find(phrase: str, question: Question, schema: Schema, role: str) -> bool:
    """Find a phrase as a text, or as first and last name of a person; returns whether it was found."""
    columns = [one for one in schema.columns if one.kind == "STRING" and one.table not in schema.views]
    if found := await _probe([(one, phrase) for one in columns[:MAX_PROBED_COLUMNS]], role):
        question.values[phrase] = found
        return True
    names = phrase.split()
    people = [labels for table in schema.tables if len(labels := schema.labels(table)) == 2]
    for first, last in people:
        for cut in range(1, min(len(names), 4)):
            parts = (first, " ".join(names[:cut])), (last, " ".join(names[cut:]))
            matches = await _probe(parts, role)
            if len(matches) == 2 and await _has_person(matches, role):
                question.values |= {part: [match] for (_, part), match in zip(parts, matches, strict=True)}
                return True
    return False


async def _has_person(names: Sequence[tuple[Column, str]], role: str) -> bool:
    """Return whether one row has both names."""
    equal = [f"{quoted(column)} = ${number}" for number, (column, _) in enumerate(names, 1)]
    query = f"SELECT count(*) FROM {quoted(names[0][0].table)} WHERE {' AND '.join(equal)}"
    return (await run(query, [name for _, name in names], role, 1)).rows[0][0] != 0


async def _probe(candidates: Sequence[tuple[Column, str]], role: str) -> list[tuple[Column, str]]:
    """Return the columns that have a text, in whichever case, with the text as it is stored."""
    if not candidates:
        return []
    selects = [
        f"SELECT {number} AS n, (SELECT min({quoted(column)}) FROM {quoted(column.table)}"
        f" WHERE lower({quoted(column)}) = lower(${number + 1})) AS v"
        for number, (column, _) in enumerate(candidates)
    ]
    result = await run(" UNION ALL ".join(selects), [text for _, text in candidates], role, len(candidates))
    return [(candidates[int(str(number))][0], str(value)) for number, value in result.rows if value is not None]


def _parameter(value: str | float) -> sql.Parameter:
    return sql.Parameter(string_value=value) if isinstance(value, str) else sql.Parameter(double_value=value)


def _cell(value: sql.Value, is_decimal: bool) -> Cell:
    """Return a value for people: texts bounded, and without links, which a query could make up."""
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "bytes_value":
        return f"{len(value.bytes_value)} bytes"
    found: Cell = getattr(value, kind)
    if is_decimal and isinstance(found, str):
        return float(found)
    return without_links(found[:MAX_CELL_CHARACTERS]) if isinstance(found, str) else found


def without_links(text: str) -> str:
    return _LINK.sub("[link]", text)
