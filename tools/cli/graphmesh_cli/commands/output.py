"""The output of commands: tables that never cut an id, JSON lines, and notes on long waits."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, is_dataclass
from datetime import date
from typing import Annotated, Any, TypeVar

import typer
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as _details_of_errors  # noqa: F401  # known to the JSON form of a status
from graphmesh_contracts.message_json import message_dict
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from graphmesh_cli.terminal import escaped, printable

ItemT = TypeVar("ItemT")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: one object a line, with all fields.")]

UNLIMITED_WIDTH = 100_000
"""Characters of a line that no terminal shows: a pipe or a file gets each row in one line."""
MIN_ID_LENGTH = 12
"""Characters of a short id: its prefix, and eight or nine digits."""
SILENT_SECONDS = 2.0
"""Seconds that a command may wait before it shows the reason."""


class PlainConsole(Console):
    """Prints text without markup and without characters that would change the terminal, whatever it is of, and leaves a
    closed pipe to the command's caller."""

    def __init__(self, *, stderr: bool = False) -> None:
        file = sys.stderr if stderr else sys.stdout
        limited = file.isatty() or "COLUMNS" in os.environ
        width = shutil.get_terminal_size().columns if limited else UNLIMITED_WIDTH
        super().__init__(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def print_values(target: Console, values: Any) -> None:
    """Print values of a graph as JSON over several lines, with members in alphabetical order."""
    target.print_json(json.dumps(values), sort_keys=True, ensure_ascii=False)


def console(*, stderr: bool = False) -> PlainConsole:
    """Return a console of the present width. One for the module would keep the width that it was imported with."""
    return PlainConsole(stderr=stderr)


def show_list(
    found: Collection[ItemT],
    columns: Mapping[str, Callable[[ItemT], str | Text]],
    *,
    empty: str,
    ids: Collection[str] = (),
    as_json: bool = False,
) -> None:
    """Print items as a table, or as JSON with one object a line.

    Args:
        columns: the cell of an item, by the title of the column.
        empty: the sentence where there are none, such as `no runs`.
        ids: titles of the columns with ids. They are shortened, but not cut, where the table is wider than the console.
    """
    if as_json:
        for one in found:
            print_json_line(one)
    elif not found:
        console().print(empty, style="dim")
    else:
        target = console()
        rows = [[_text(cell(one)) for cell in columns.values()] for one in found]
        _print_table(target, _table(list(columns), rows, ids, target.width))


def print_json_line(value: Any) -> None:
    """Print a message, a mapping or a dataclass as one line of JSON, with its members in alphabetical order.

    The order of the contract is none for values of graphs, which are maps.
    """
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(fields_of(value), ensure_ascii=not is_unicode, sort_keys=True, default=_plain)
    typer.echo(escaped(text))


def fields_of(value: Any) -> Any:
    """Return the JSON form: of a message all fields, with the names of the contract."""
    if isinstance(value, Message):
        return message_dict(value, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


@asynccontextmanager
async def noted(reason: str, seconds: float = SILENT_SECONDS) -> AsyncIterator[None]:
    """Print `reason` to standard error where the body takes longer than `seconds`."""

    async def note() -> None:
        await asyncio.sleep(seconds)
        print_note(reason)

    task = asyncio.create_task(note(), name="note on a wait")
    try:
        yield
    finally:
        task.cancel()


def print_note(text: str) -> None:
    """Print a line that is no result to standard error."""
    console(stderr=True).print(text, style="dim", soft_wrap=True)


def _print_table(target: Console, table: Table) -> None:
    """Print a table, to a pipe or a file without the spaces at the ends of its lines."""
    if target.is_terminal:
        return target.print(table)
    with target.capture() as captured:
        target.print(table)
    for line in captured.get().splitlines():
        target.print(line.rstrip(), soft_wrap=True)
    return None


def _table(titles: Sequence[str], rows: Sequence[Sequence[Text]], ids: Collection[str], width: int) -> Table:
    if sum(max(row[at].cell_len for row in rows) + 2 for at in range(len(titles))) - 2 > width:
        rows = _with_short_ids(titles, rows, ids)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), collapse_padding=True)
    for at, title in enumerate(titles):
        longest = max(row[at].cell_len for row in rows)
        is_id = title in ids
        table.add_column(title, no_wrap=is_id, min_width=longest if is_id else None, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _with_short_ids(
    titles: Sequence[str], rows: Sequence[Sequence[Text]], ids: Collection[str]
) -> Sequence[Sequence[Text]]:
    lengths = [
        unique_length([row[at].plain for row in rows]) if title in ids else UNLIMITED_WIDTH
        for at, title in enumerate(titles)
    ]
    return [[cell[:length] for cell, length in zip(row, lengths, strict=True)] for row in rows]


def unique_length(ids: Collection[str]) -> int:
    """Return the length at which all prefixes of `ids` differ, at least MIN_ID_LENGTH."""
    longest, distinct = max(map(len, ids), default=0), len(set(ids))
    lengths = range(MIN_ID_LENGTH, longest)
    return next((length for length in lengths if len({one[:length] for one in ids}) == distinct), longest)


def _text(cell: str | Text) -> Text:
    text = Text(cell) if isinstance(cell, str) else cell
    text.plain = printable(text.plain)
    return text


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else str(value)
