"""Filling a database with runs that have ended."""

from psycopg import AsyncConnection

COPIES = """
INSERT INTO {table} SELECT made.*
FROM {table} AS one, generate_series(1, {count}) AS number, LATERAL jsonb_populate_record(
    one, jsonb_build_object('run_id', 'run_' || number, 'thread_id', 'th_' || number, 'request_id', 'rq_' || number)
) AS made
"""
"""Of any row, whichever columns it has, with ids of their own."""


async def store_runs(url: str, count: int) -> None:
    """Store so many copies of the one run that a database has, each on a thread of its own."""
    async with await AsyncConnection.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for table in ("runs", "threads"):
            await connection.execute(COPIES.format(table=table, count=count).encode())
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
