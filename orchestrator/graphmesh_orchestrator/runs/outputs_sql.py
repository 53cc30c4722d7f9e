"""Reads the outputs of runs, and deletes their blocks with them, on SQLite and PostgreSQL."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_contracts.keys import checkpoint_thread
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.db.tables import artifacts, runs
from graphmesh_orchestrator.runs.outputs import Blocks, joined
from graphmesh_orchestrator.runs.rows import run_of
from graphmesh_orchestrator.runs.run import Run

_BLOCKS = sa.select(runs.c.tenant, runs.c.thread_id, runs.c.output_blocks).where(runs.c.output_blocks.is_not(None))
Names = Mapping[str, set[str]]
"""The names of blocks by their thread's name in checkpoints."""


class SqlOutputs:
    """The outputs of runs, with the blocks that they begin with."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def runs_of(self, rows: Sequence[sa.Row[Any]], connection: AsyncConnection | None = None) -> list[Run]:
        """Return the runs of rows of `runs`; their blocks are read in one query, where they have any.

        Within a transaction by its connection.
        """
        found = [row._mapping for row in rows]
        names = _names(row for row in found if row["output_blocks"])
        if not names:
            return [run_of(row) for row in found]
        keys = [(thread, name) for thread, of_thread in names.items() for name in of_thread]
        query = sa.select(artifacts.c.thread_id, artifacts.c.name, artifacts.c.data)
        query = query.where(sa.tuple_(artifacts.c.thread_id, artifacts.c.name).in_(keys))
        data: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        for block in await (connection.execute(query) if connection else self._database.rows(query)):
            data[block.thread_id][block.name] = block.data
        return [run_of({**row, "output": _output(row, data[_thread(row)])}) for row in found]


async def blocks_of(connection: AsyncConnection, where: sa.ColumnElement[bool]) -> Mapping[tuple[str, str], int]:
    """Return the stamps of the blocks of runs, by thread and name."""
    names = _names(row._mapping for row in await connection.execute(_BLOCKS.where(where)))
    stamps: dict[tuple[str, str], int] = {}
    for thread, of_thread in names.items():
        query = sa.select(artifacts.c.name, artifacts.c.stamp).where(artifacts.c.thread_id == thread)
        for row in await connection.execute(query.where(artifacts.c.name.in_(of_thread))):
            stamps[thread, row.name] = row.stamp
    return stamps


async def delete_unreferenced(connection: AsyncConnection, stamps: Mapping[tuple[str, str], int]) -> None:
    """Delete the blocks that had these stamps before, and that no run refers to any more.

    A run that ends meanwhile and refers to one has changed its stamp, or stores it again.
    """
    for thread in sorted({thread for thread, _ in stamps}):
        tenant, _, thread_id = thread.partition("/")
        on_thread = sa.and_(runs.c.tenant == tenant, runs.c.thread_id == thread_id)
        kept = _names(row._mapping for row in await connection.execute(_BLOCKS.where(on_thread)))[thread]
        unused = [name for of_thread, name in stamps if of_thread == thread and name not in kept]
        is_unused = sa.and_(artifacts.c.thread_id == thread, artifacts.c.name.in_(unused))
        locked = sa.select(artifacts.c.name, artifacts.c.stamp).where(is_unused).order_by(artifacts.c.name)
        rows = await connection.execute(locked.with_for_update())  # in the order in which writers store them
        untouched = [row.name for row in rows if row.stamp == stamps[thread, row.name]]
        is_untouched = sa.and_(artifacts.c.thread_id == thread, artifacts.c.name.in_(untouched))
        await connection.execute(sa.delete(artifacts).where(is_untouched))


def _names(rows: Iterable[Mapping[Any, Any]]) -> Names:
    names: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        blocks: Blocks = row["output_blocks"]
        names[_thread(row)].update(name for of_member in blocks.values() for name in of_member)
    return names


def _thread(row: Mapping[Any, Any]) -> str:
    return checkpoint_thread(row["tenant"], row["thread_id"])


def _output(row: Mapping[Any, Any], data: Mapping[str, bytes]) -> Any:
    return joined(row["output"], row["output_blocks"], data) if row["output_blocks"] else row["output"]
