"""The memory of PostgreSQL's backends: what a query takes there ends at its limit, by each of the ways to bound it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
import psycopg
import pytest
from graphmesh_sql.domain import LimitExceeded, RuleBroken, Unanswerable
from graphmesh_sql.worker import postgresql_memory
from graphmesh_sql.worker.postgresql import NO_MEMORY_LIMIT, NO_TEMP_LIMIT

from tests.contract.sql.targets import Session, postgres_target

MEGABYTES = 1024 * 1024
MAX_MEMORY = 256 * MEGABYTES
"""Of a backend whose queries may take 96 MB, with what it has anyway and what it takes until it is noticed."""
GROWING = (
    "SELECT length(string_agg(repeat('x', 1000), '')) FROM generate_series(1, 600000)",
    "SELECT cardinality(array_agg(repeat('x', 2000) || g)) FROM generate_series(1, 300000) g",
    "SELECT length(jsonb_agg(repeat('x', 1000) || g)::text) FROM generate_series(1, 600000) g",
    "SELECT cardinality(ARRAY (SELECT repeat('x', 2000) || g FROM generate_series(1, 300000) g))",
    "WITH RECURSIVE t(i, s) AS (SELECT 1, repeat('x', 2000) UNION SELECT i + 1, s FROM t WHERE i < 300000)"
    " SELECT count(*) FROM t",
    "SELECT length(replace(repeat('x', 50000), 'x', repeat('y', 9000)))",
    "SELECT 'x' ~ '((a{1,255}){1,255}){1,255}'",
)
FUNCTION = """
    CREATE SCHEMA graphmesh;
    CREATE FUNCTION graphmesh.backend_memory(pid int) RETURNS bigint
        LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
        AS $$ SELECT 4096 * (split_part(statm, ' ', 2)::bigint - split_part(statm, ' ', 3)::bigint)
              FROM pg_read_file('/proc/' || pid || '/statm') AS statm $$;
    REVOKE EXECUTE ON FUNCTION graphmesh.backend_memory FROM PUBLIC;
"""


@pytest.fixture
def session(postgres_url: str) -> Session:
    return Session(postgres_target(postgres_url))


def role_of(session: Session) -> str:
    return session.target.settings.target.partition("://")[2].partition(":")[0]


@contextmanager
def peak_of(session: Session) -> Iterator[list[int]]:
    """Collect the private memory of the backends of the session's role while the body runs."""
    role = role_of(session)
    stopped, found = threading.Event(), [0]

    def poll() -> None:
        while not stopped.wait(0.03):
            for process in psutil.process_iter(["cmdline"]):
                with suppress(psutil.Error):
                    if f" {role} " in " ".join(process.info["cmdline"] or ()):
                        memory = process.memory_info()
                        found.append(memory.rss - memory.shared)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield found
    finally:
        stopped.set()
        thread.join()


def from_this_host(session: Session, patch: pytest.MonkeyPatch) -> None:
    """As it is."""


def by_a_function(session: Session, patch: pytest.MonkeyPatch) -> None:
    """As of a server on another host."""
    backend = postgresql_memory._backend
    patch.setattr(postgresql_memory, "_backend", lambda connection: (backend(connection)[0], False, True))
    role = role_of(session)
    with psycopg.connect(session.target.address, autocommit=True) as connection:
        connection.execute(FUNCTION.encode())
        connection.execute(f"GRANT USAGE ON SCHEMA graphmesh TO {role}".encode())
        connection.execute(f"GRANT EXECUTE ON FUNCTION graphmesh.backend_memory TO {role}".encode())


@pytest.mark.parametrize("bounded", [from_this_host, by_a_function])
def test_growing_query_ends_at_its_limit(
    session: Session, bounded: Callable[[Session, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bounded(session, monkeypatch)
    with peak_of(session) as found:
        for text in GROWING if bounded is from_this_host else GROWING[:2]:
            with pytest.raises(LimitExceeded, match="memory"):
                session.rows(text, seconds=60)
    assert 0 < max(found) < MAX_MEMORY


def test_without_a_way_to_bound_memory_the_ping_says_so(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how temporary space is bounded where the role has no limit of it."""
    assert session.engine.ping() == ()
    monkeypatch.setattr(postgresql_memory, "_backend", lambda _: (1, False, False))
    with psycopg.connect(session.target.address, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {role_of(session)} RESET temp_file_limit".encode())
    assert session.engine.ping() == (NO_MEMORY_LIMIT, NO_TEMP_LIMIT)
    assert session.rows("SELECT 1") == [(1,)]
    with pytest.raises(RuleBroken, match="bytes of temporary space"):
        session.rows("SELECT count(*) FROM (SELECT g FROM generate_series(1, 20000000) g ORDER BY g DESC) q")


def test_role_that_may_sets_its_limit_of_temporary_space(session: Session) -> None:
    with psycopg.connect(session.target.address, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {role_of(session)} RESET temp_file_limit".encode())
        connection.execute(f"GRANT SET ON PARAMETER temp_file_limit TO {role_of(session)}".encode())
    text = "SELECT count(*) FROM (SELECT DISTINCT g, repeat('x', 1000) FROM generate_series(1, 200000) g) x"
    with pytest.raises(LimitExceeded, match="temporary space"):
        session.rows(text, seconds=60)


def nested(levels: int, query: str, expression: str) -> str:
    for number in range(levels):
        query = f"SELECT {expression} AS s FROM ({query}) q{number}"
    return query


@pytest.mark.parametrize(
    "text",
    [
        "SELECT repeat('a', 900000000)",
        "SELECT length(lpad('a', 900000000 - 1))",
        "SELECT length(pg_catalog.rpad('a', (SELECT 900000000), 'x'))",
        "SELECT length(\"lpad\"('a', /* , ) */ id * 900000 -- )\n)) FROM item",
        "SELECT format('%900000000s', 'x')",
        "SELECT format('%1$*2$s', 'x', 900000000)",
        "SELECT format('%' || '900000000s', 'x')",
        "SELECT format('" + "%1$s" * 300 + "', 'x')",
        "SELECT length('x'::char(9000000)::text)",
        "SELECT length(B'1'::bit(80000000))",
        "SELECT array_fill(1, ARRAY[9000, 9000])",
        "SELECT array_fill(1, (SELECT ARRAY[90000000]))",
        "SELECT array_to_string(string_to_array(repeat('a,', 9000), ','), repeat('y', 9000))",
        "SELECT concat_ws(repeat(',', 9000), label, label) FROM item",
        "SELECT regexp_replace(repeat('x', 9000), 'x', repeat('y', 9000), 'g')",
        "SELECT array_replace(ARRAY['a'], 'a', repeat('y', 9000))",
        "SELECT " + "||".join(["label"] * 70) + " FROM item",
        "SELECT " + ", ".join(["lpad('a', 90000)"] * 12),
        nested(22, "SELECT label AS s FROM item", "s || s"),
        "WITH v(s) AS (SELECT string_agg(label, '') FROM item) SELECT " + "||".join(["s"] * 12) + " FROM v",
        "SELECT " + "(" * 16 + "true" + " BETWEEN SYMMETRIC false AND true)" * 16,
        "SELECT " + "(" * 12 + "id" + " IN (id, id, id))::int" * 12 + " FROM item",
    ],
)
def test_value_that_one_step_would_make_is_refused(session: Session, text: str) -> None:
    """PostgreSQL cannot be interrupted while it makes it."""
    with peak_of(session) as found, pytest.raises((RuleBroken, Unanswerable)):
        session.rows(text)
    assert max(found) < 32 * MEGABYTES


def test_sizes_that_are_computed_are_allowed(session: Session) -> None:
    """Up to a limit, and wherever their argument ends."""
    text = """SELECT lpad(label, length(label) + 2, '.'), repeat('é', id), rpad(label, (SELECT 4), ', )'),
        repeat(repeat('*', id), $1), lpad(to_char(price, 'FM99'), (CASE WHEN id > 0 THEN 3 END), '0')
        FROM item WHERE id = 2"""
    assert session.rows(text, 2) == [("..ink", "éé", "ink,", "****", "006")]
