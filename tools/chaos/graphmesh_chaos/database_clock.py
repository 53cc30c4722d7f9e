"""Shifts the clock of a PostgreSQL database, as its clients read it."""

import psycopg
from sqlalchemy.engine import make_url

FUNCTION = """
CREATE FUNCTION public.{0}() RETURNS timestamptz LANGUAGE sql VOLATILE
AS $$ SELECT pg_catalog.{0}() + (SELECT shift FROM public.chaos_clock) $$
"""
"""A function of `public` hides that of `pg_catalog` where the search path has it first. CURRENT_TIMESTAMP is no
function, so that nothing hides it; the product does not use it on PostgreSQL."""
INSTALL = (
    "CREATE TABLE public.chaos_clock AS SELECT interval '0 s' AS shift",
    FUNCTION.format("clock_timestamp"),
    FUNCTION.format("now"),
)


def install_clock(url: str) -> None:
    """Make the clock of a database shiftable for all sessions that begin later."""
    with _connect(url) as connection:
        for statement in INSTALL:
            connection.execute(statement)
        connection.execute(f'ALTER DATABASE "{make_url(url).database}" SET search_path = public, pg_catalog')


def shift_clock(url: str, seconds: float) -> None:
    """Set the clock of a database to the machine's, plus `seconds`."""
    with _connect(url) as connection:
        connection.execute("UPDATE public.chaos_clock SET shift = make_interval(secs => %s)", [seconds])


def _connect(url: str) -> psycopg.Connection:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)
