"""Compares the tables that migrations create with the tables that the code declares."""

from pathlib import Path

import sqlalchemy as sa
from graphmesh_chassis.database import open_database

Schema = dict[str, tuple[list[str], list[str], dict[str | None, list[str | None]]]]
"""For each table: its columns, the columns of its primary key, and its indexes with their columns."""


async def migrated(metadata: sa.MetaData, url: str, migrations: Path) -> Schema:
    """Migrate the database at `url`, and read the schema of the tables of `metadata` from it."""

    def schema(connection: sa.Connection) -> Schema:
        inspector = sa.inspect(connection)
        return {
            name: (
                [column["name"] for column in inspector.get_columns(name)],
                inspector.get_pk_constraint(name)["constrained_columns"],
                {
                    index["name"]: [str(column) for column in index["column_names"]]
                    for index in inspector.get_indexes(name)
                },
            )
            for name in metadata.tables
        }

    async with open_database(url, migrations) as database, database.read() as connection:
        return await connection.run_sync(schema)


def declared(metadata: sa.MetaData) -> Schema:
    return {
        name: (
            [column.name for column in table.columns],
            [column.name for column in table.primary_key],
            {str(index.name): [column.name for column in index.columns] for index in table.indexes},
        )
        for name, table in metadata.tables.items()
    }
