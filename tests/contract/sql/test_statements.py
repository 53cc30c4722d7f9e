"""The guard over many statements, and over statements that are made of them, judged by the databases themselves.

On PostgreSQL a superuser plans what the guard has accepted: an independent reading of what the text means. On SQLite
the file is opened without an authorizer, and the values of what may not be read are looked for in the results.
"""

import json
import random
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from graphmesh_sql.domain import RuleBroken, Stopped, Unanswerable
from graphmesh_sql.worker.postgresql import refuse_functions
from graphmesh_sql.worker.postgresql_guard import check

from tests.contract.sql.targets import Session, postgres_target, sqlite_target

STATEMENTS = Path(__file__).with_name("statements")
SECRETS = ("TOPSECRET", "7001", "7002", "7003", "21006")
MUTANTS = 300
SEED = 11
HIDDEN_MEANING = r"reg(class|role|proc|type|oper|namespace)|secret|public\.leak|pg_(read|ls|sleep)|_setting\("
LITERAL = re.compile(r"'(?:[^']|'')*'")
READABLE = {"Order", "item", "spending", "visit", "deal", "customer"}


@pytest.fixture(scope="module")
def sqlite_session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session(sqlite_target(tmp_path_factory.mktemp("statements")))


@pytest.fixture
def postgres_session(postgres_url: str) -> Session:
    return Session(postgres_target(postgres_url))


def statements(name: str) -> list[str]:
    return (STATEMENTS / f"{name}.sql").read_text().splitlines()


def passed(session: Session, texts: list[str]) -> list[str]:
    found = []
    for text in texts:
        with suppress(RuleBroken, Unanswerable):
            session.rows(text)
            found.append(text)
    return found


def failures(session: Session, texts: list[str]) -> list[str]:
    found = []
    for text in texts:
        try:
            session.rows(text)
        except (RuleBroken, Unanswerable) as error:
            found.append(f"{text}: {error}")
    return found


def test_hostile_statements_are_refused_on_sqlite(sqlite_session: Session) -> None:
    assert passed(sqlite_session, statements("hostile_sqlite")) == []
    assert sqlite_session.target.customer_count() == 3


def test_legitimate_statements_are_answered_on_sqlite(sqlite_session: Session) -> None:
    assert failures(sqlite_session, statements("legitimate_sqlite")) == []


def test_hostile_statements_are_refused_on_postgresql(postgres_session: Session) -> None:
    """By the guard alone but where a privilege decides: that of a column, or a name that has no meaning."""
    assert passed(postgres_session, statements("hostile_postgresql")) == []
    assert postgres_session.target.customer_count() == 3


def test_legitimate_statements_are_answered_on_postgresql(postgres_session: Session) -> None:
    """The guard accepts them all, and so does the database as they are sent; a twelfth of them by the whole engine."""
    texts = statements("legitimate_postgresql")
    with psycopg.connect(postgres_session.target.settings.target.replace("+psycopg", "")) as connection:
        connection.execute("SET search_path = pg_catalog")
        for text in texts:
            connection.execute(check(text, postgres_session.schema(), 0).text.encode())
    assert failures(postgres_session, texts[::12]) == []


def mutants(texts: list[str], count: int) -> Iterator[str]:
    """Make statements of the parts of others: words replaced, inserted, dropped; halves joined; one inside another."""
    chance = random.Random(SEED)
    words = [re.findall(r"\w+|'[^']*'|\"[^\"]*\"|\s+|[^\w\s]", text) for text in texts]
    vocabulary = [word for parts in words for word in parts if word.strip()]
    for _ in range(count):
        parts = list(chance.choice(words))
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(parts) + 1)
            match chance.randrange(5):
                case 0:
                    parts[place : place + 1] = [chance.choice(vocabulary)]
                case 1:
                    parts[place:place] = [" ", chance.choice(vocabulary), " "]
                case 2:
                    del parts[place : place + 1]
                case 3:
                    parts[place:] = chance.choice(words)[place:]
                case _:
                    parts[place : place + 1] = ["(", *chance.choice(words), ")"]
        yield "".join(parts)


def test_mutants_read_nothing_hidden_on_sqlite(sqlite_session: Session) -> None:
    """No accepted statement returns a value of what may not be read, or changes the file."""
    texts = statements("hostile_sqlite") + statements("legitimate_sqlite")
    path = Path(sqlite_session.target.address)
    before, accepted = path.read_bytes(), 0
    for text in mutants(texts, MUTANTS * 5):
        with suppress(RuleBroken, Unanswerable, Stopped, MemoryError):
            rows = sqlite_session.rows(text, seconds=2)
            accepted += 1
            assert not any(secret in str(rows) for secret in SECRETS if secret not in text), text
    assert path.read_bytes() == before
    assert accepted > MUTANTS // 10


def test_mutants_read_nothing_hidden_on_postgresql(postgres_session: Session) -> None:
    """A superuser's plan of each accepted statement scans described tables, views and their tables alone."""
    texts = statements("hostile_postgresql") + statements("legitimate_postgresql")
    schema, accepted = postgres_session.schema(), 0
    with psycopg.connect(postgres_session.target.address) as connection:
        for text in mutants(texts, MUTANTS * 12):
            connection.rollback()
            try:
                checked = check(text, schema, 0)
                refuse_functions(connection, checked.fields)
            except RuleBroken:
                continue
            if checked.explain:
                continue
            connection.execute("SET LOCAL search_path = pg_catalog")
            connection.execute("SET LOCAL statement_timeout = '2s'")
            with suppress(psycopg.Error):
                (plan,) = connection.execute(f"EXPLAIN (VERBOSE, FORMAT JSON) {checked.text}".encode()).fetchone() or (
                    [],
                )
                accepted += 1
                assert relations(plan) <= READABLE, text
                assert not re.search(HIDDEN_MEANING, LITERAL.sub("", json.dumps(plan))), text
    assert accepted > MUTANTS // 2


def relations(plan: Any) -> set[str]:
    """The names of all relations in a plan."""
    if isinstance(plan, list):
        return set().union(*map(relations, plan))
    if isinstance(plan, dict):
        own = {plan["Relation Name"]} if "Relation Name" in plan else set()
        return own.union(*map(relations, plan.values()))
    return set()


def test_sqlite_without_the_guard_would_answer(sqlite_session: Session) -> None:
    """The hostile statements are answered by a connection without an authorizer: refusals are those of the guard."""
    with closing(sqlite3.connect(sqlite_session.target.address)) as connection:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)
        connection.set_progress_handler(lambda: True, 1_000_000)
        answered = 0
        for text in statements("hostile_sqlite"):
            if text.upper().startswith(("SELECT", "WITH", "VALUES")) and "load_extension" not in text:
                with suppress(sqlite3.Error, sqlite3.Warning):
                    connection.execute(text).fetchmany(10)
                    answered += 1
    assert answered > 120
