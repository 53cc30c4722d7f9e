"""Fills a database with ended runs."""

from psycopg import AsyncConnection

COPY_ROW = """
INSERT INTO {table} SELECT made.*
FROM {table} AS one, generate_series(1, {count}) AS number, LATERAL jsonb_populate_record(
    one, jsonb_build_object('run_id', 'run_' || number, 'thread_id', 'th_' || number, 'request_id', 'rq_' || number)
) AS made
"""
"""Copies of the only row, whichever columns it has, with ids of their own."""


async def store_runs(url: str, count: int) -> None:
    """Store `count` copies of the only run of a database, each on a thread of its own."""
    async with await AsyncConnection.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for table in ("runs", "threads"):
            await connection.execute(COPY_ROW.format(table=table, count=count).encode())
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
