"""Every library behaves alike: in memory, on SQLite, on PostgreSQL (C5, F1)."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.errors import NotFound
from graphmesh_retrieval.__main__ import MIGRATIONS
from graphmesh_retrieval.analysis import query_terms
from graphmesh_retrieval.domain import Draft
from graphmesh_retrieval.ingestion import Outcome, prepare, store
from graphmesh_retrieval.library import Library, MemoryLibrary
from graphmesh_retrieval.library_sql import SqlLibrary
from graphmesh_retrieval.searching import search
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class Opened(Protocol):
    """Opens the library of a tenant, in a transaction of its own."""

    def __call__(self, tenant: str = "acme") -> AbstractAsyncContextManager[Library]: ...


def in_memory() -> Opened:
    tenants: dict[str, MemoryLibrary] = {}

    @asynccontextmanager
    async def opened(tenant: str = "acme") -> AsyncIterator[Library]:
        yield tenants.setdefault(tenant, MemoryLibrary())

    return opened


def in_database(database: Database) -> Opened:
    @asynccontextmanager
    async def opened(tenant: str = "acme") -> AsyncIterator[Library]:
        async with database.transaction() as connection:
            yield SqlLibrary(connection, tenant)

    return opened


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Empty for memory."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/retrieval.db" if request.param == "sqlite" else ""


@pytest_asyncio.fixture
async def opened(url: str) -> AsyncIterator[Opened]:
    if not url:
        yield in_memory()
        return
    async with open_database(url, MIGRATIONS) as database:
        yield in_database(database)


def draft(document_id: str, text: str = "Something.", title: str = "Title", **attributes: str) -> Draft:
    return Draft(document_id, title, f"https://shop.example/{document_id}", text, attributes)


SHOP = [
    draft(
        "refunds.md",
        "# Refunds\n\nA refund takes five days.\n\n## Exceptions\n\nGift cards are never refunded.",
        "Refunds",
    ),
    draft("shipping.md", "# Shipping\n\nParcels leave within a day; Canada takes a week.", "Shipping"),
    draft("pens.md", "# Pens\n\nFountain pens need ink. Ink leaves stains.", "Fountain pens"),
]


async def ingest(opened: Opened, *drafts: Draft, tenant: str = "acme") -> Outcome:
    async with opened(tenant) as library:
        return await store(library, prepare(drafts))


async def found(opened: Opened, query: str, tenant: str = "acme") -> list[tuple[str, float]]:
    async with opened(tenant) as library:
        hits = await search(library, query, limit=10, min_score=0.0)
    return [(hit.candidate.passage_id, round(hit.score, 6)) for hit in hits]


async def test_documents_are_kept_as_they_came(opened: Opened) -> None:
    """What was put in comes out: text, uri, attributes in any script, passages counted."""
    kept = draft("a/b.md", "Text with ünïcode 😀 and 'quotes'.", "Tïtle", lang="日本語")
    async with opened() as library:
        await library.put(prepare([kept]), NOW)
    async with opened() as library:
        document = await library.get("a/b.md")
    assert (document.text, document.title, document.uri) == (kept.text, kept.title, kept.uri)
    assert (document.attributes, document.passage_count, document.update_time) == ({"lang": "日本語"}, 1, NOW)


async def test_ingesting_says_what_it_did(opened: Opened) -> None:
    """New, changed and unchanged documents are counted apart; only stored ones count passages."""
    assert await ingest(opened, *SHOP) == Outcome(added=3, replaced=0, unchanged=0, passages=4)
    changed = draft("pens.md", "One.\n\n# Two\n\nThree.")
    assert await ingest(opened, SHOP[0], changed, draft("new.md")) == Outcome(1, 1, 1, 3)


async def test_a_document_without_a_title_gets_one_of_its_text(opened: Opened) -> None:
    """Its first heading, or its id; it is found by it like by any other."""
    await ingest(opened, draft("a", "# Ink stains\n\nWash at once.", ""), draft("b/walrus.md", "Plain.", ""))
    async with opened() as library:
        assert [document.title for document in await library.page("", 9)] == ["Ink stains", "b/walrus.md"]
    assert await found(opened, "walrus") == [("b/walrus.md#0", 1.0)]


async def test_of_two_documents_with_one_id_the_last_counts(opened: Opened) -> None:
    """A request may hold an id twice without failing."""
    assert await ingest(opened, draft("a", "first"), draft("a", "second")) == Outcome(1, 0, 0, 1)
    async with opened() as library:
        assert (await library.get("a")).text == "second"


async def test_a_replaced_document_is_no_longer_found_by_its_old_words(opened: Opened) -> None:
    """The index holds what the document says now, and nothing else."""
    await ingest(opened, draft("a", "All about walruses."))
    await ingest(opened, draft("a", "All about penguins."))
    assert await found(opened, "walruses") == []
    assert await found(opened, "penguins") == [("a#0", 1.0)]


async def test_a_removed_document_is_gone(opened: Opened) -> None:
    """It is neither read, listed nor found, and ids that were never there are not counted."""
    await ingest(opened, *SHOP)
    async with opened() as library:
        assert await library.remove(["refunds.md", "never.md"]) == 1
    async with opened() as library:
        with pytest.raises(NotFound):
            await library.get("refunds.md")
        assert [document.document_id for document in await library.page("", 10)] == ["pens.md", "shipping.md"]
    assert await found(opened, "refund") == []


async def test_pages_follow_the_order_of_ids(opened: Opened) -> None:
    """By code points, on every database, whatever its language; each page goes on after the one before."""
    ids = ["B", "a-b", "a/b", "a.b", "aB", "a_b", "ab"]
    await ingest(opened, *map(draft, ids))
    seen: list[str] = []
    async with opened() as library:
        while page := await library.page(seen[-1] if seen else "", 3):
            seen += [document.document_id for document in page]
    assert seen == sorted(ids)


async def test_scores_are_the_same_everywhere(opened: Opened) -> None:
    """The expected numbers are those of the formula, so no store may have numbers of its own."""
    await ingest(opened, *SHOP)
    assert await found(opened, "refund for gift cards?") == [("refunds.md#1", 1.0), ("refunds.md#0", 0.223517)]
    assert await found(opened, "ink stains on trousers") == [("pens.md#0", 0.511184)]
    assert [passage for passage, _ in await found(opened, "refunds, shipping, leaves")] == [
        "shipping.md#0", "refunds.md#0", "refunds.md#1", "pens.md#0"
    ]  # fmt: skip


async def test_tenants_do_not_meet(opened: Opened) -> None:
    """Another tenant's documents are not found, read, listed, removed or counted in a score (F1)."""
    await ingest(opened, *SHOP)
    before = await found(opened, "refund for gift cards?")
    await ingest(opened, draft("refunds.md", "Gift cards: refunded at once."), tenant="rival")
    assert await found(opened, "refund for gift cards?") == before
    async with opened("third") as library:
        assert await library.page("", 10) == []
        assert await library.remove(["refunds.md"]) == 0
        with pytest.raises(NotFound):
            await library.get("refunds.md")
    assert (await found(opened, "gift", tenant="rival"))[0][0] == "refunds.md#0"


@pytest.mark.parametrize("query", ["the of and", "😀🎉", "\0", "?!", "''", " "])
async def test_a_query_without_an_informative_word_finds_nothing(opened: Opened, query: str) -> None:
    """Stop words, emoji and punctuation are no question."""
    await ingest(opened, *SHOP)
    assert await found(opened, query) == []


OPERATORS = ["refund", "AND", "NOT", "NEAR(", *"()\"'*:^-&|!\\\0%", "''", "<->", ";--"]


async def test_no_text_is_query_syntax(opened: Opened) -> None:
    """Whatever is asked, the databases take it as words: a hit has a word of the query, and nothing fails."""
    await ingest(opened, *SHOP)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.sampled_from(OPERATORS) | st.text(max_size=20), max_size=12).map(" ".join))
    def queries(query: str) -> None:
        asked.append(query)

    asked: list[str] = []
    queries()
    for query in asked:
        hits = await found(opened, query)
        assert all(0 < score <= 1 for _, score in hits)
        assert bool(hits) <= bool(query_terms(query))
        if "refund" in query_terms(query):
            assert "refunds.md#0" in dict(hits)


async def test_words_of_any_script_are_found(opened: Opened) -> None:
    """A word is what Unicode calls letters and digits, however the database would split it."""
    texts = {"ru": "Возврат денег", "ja": "返金", "de": "Rücküberweisung", "n": "A4 3½ 12e5 0x1f ß", "hi": "धनवापसी"}
    await ingest(opened, *(draft(key, text) for key, text in texts.items()))
    for key, text in texts.items():
        assert (f"{key}#0", 1.0) in await found(opened, text)
        assert {passage for passage, score in await found(opened, text) if score == 1.0} == {f"{key}#0"}
