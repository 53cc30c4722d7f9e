"""The contract of the document store: in memory, on SQLite, on PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from graphmesh_chassis.errors import NotFound
from graphmesh_retrieval.__main__ import MIGRATIONS
from graphmesh_retrieval.analysis import query_terms
from graphmesh_retrieval.documents import Documents, MemoryDocuments
from graphmesh_retrieval.documents_sql import SqlDocuments
from graphmesh_retrieval.domain import Draft
from graphmesh_retrieval.ingestion import IngestSummary, analyze, store_changed
from graphmesh_retrieval.searching import search
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.ports import OpenPort, Port

DOCUMENTS = Port[Documents](MemoryDocuments, SqlDocuments, MIGRATIONS)
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest_asyncio.fixture
async def open_documents(store_url: str) -> AsyncIterator[OpenPort[Documents]]:
    async with DOCUMENTS.over(store_url) as open_documents:
        yield open_documents


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


async def ingest(open_documents: OpenPort[Documents], *drafts: Draft, tenant: str = "acme") -> IngestSummary:
    async with open_documents(tenant) as documents:
        return await store_changed(documents, analyze(drafts))


async def found(open_documents: OpenPort[Documents], query: str, tenant: str = "acme") -> list[tuple[str, float]]:
    async with open_documents(tenant) as documents:
        hits = await search(documents, query, limit=10, min_score=0.0)
    return [(hit.candidate.passage_id, round(hit.score, 6)) for hit in hits]


async def test_stored_document_is_unchanged(open_documents: OpenPort[Documents]) -> None:
    """Text, uri, attributes in any script, and the number of passages."""
    stored = draft("a/b.md", "Text with ünïcode 😀 and 'quotes'.", "Tïtle", lang="日本語")
    async with open_documents() as documents:
        await documents.put(analyze([stored]), NOW)
    async with open_documents() as documents:
        document = await documents.get("a/b.md")
    assert (document.text, document.title, document.uri) == (stored.text, stored.title, stored.uri)
    assert (document.attributes, document.passage_count, document.update_time) == ({"lang": "日本語"}, 1, NOW)


async def test_ingestion_counts_added_replaced_and_unchanged(open_documents: OpenPort[Documents]) -> None:
    """Only passages of stored documents are counted."""
    assert await ingest(open_documents, *SHOP) == IngestSummary(added=3, replaced=0, unchanged=0, passages=4)
    changed = draft("pens.md", "One.\n\n# Two\n\nThree.")
    assert await ingest(open_documents, SHOP[0], changed, draft("new.md")) == IngestSummary(1, 1, 1, 3)


async def test_untitled_document_gets_its_first_heading_or_id(open_documents: OpenPort[Documents]) -> None:
    """The generated title is searched like any other."""
    await ingest(open_documents, draft("a", "# Ink stains\n\nWash at once.", ""), draft("b/walrus.md", "Plain.", ""))
    async with open_documents() as documents:
        assert [document.title for document in await documents.page("", 9)] == ["Ink stains", "b/walrus.md"]
    assert await found(open_documents, "walrus") == [("b/walrus.md#0", 1.0)]


async def test_last_of_duplicate_ids_is_stored(open_documents: OpenPort[Documents]) -> None:
    """A request may hold an id twice without failing."""
    assert await ingest(open_documents, draft("a", "first"), draft("a", "second")) == IngestSummary(1, 0, 0, 1)
    async with open_documents() as documents:
        assert (await documents.get("a")).text == "second"


async def test_replaced_document_is_found_by_new_terms_only(open_documents: OpenPort[Documents]) -> None:
    """Replacing a document deletes the old terms from the index."""
    await ingest(open_documents, draft("a", "All about walruses."))
    await ingest(open_documents, draft("a", "All about penguins."))
    assert await found(open_documents, "walruses") == []
    assert await found(open_documents, "penguins") == [("a#0", 1.0)]


async def test_deleted_document_is_not_read_listed_or_found(open_documents: OpenPort[Documents]) -> None:
    """Ids that do not exist are not counted as deleted."""
    await ingest(open_documents, *SHOP)
    async with open_documents() as documents:
        assert await documents.delete(["refunds.md", "never.md"]) == 1
    async with open_documents() as documents:
        with pytest.raises(NotFound):
            await documents.get("refunds.md")
        assert [document.document_id for document in await documents.page("", 10)] == ["pens.md", "shipping.md"]
    assert await found(open_documents, "refund") == []


async def test_pages_are_ordered_by_code_points_of_ids(open_documents: OpenPort[Documents]) -> None:
    """The database's own collation has no influence; each page starts after the last id of the previous one."""
    ids = ["B", "a-b", "a/b", "a.b", "aB", "a_b", "ab"]
    await ingest(open_documents, *map(draft, ids))
    seen: list[str] = []
    async with open_documents() as documents:
        while page := await documents.page(seen[-1] if seen else "", 3):
            seen += [document.document_id for document in page]
    assert seen == sorted(ids)


async def test_scores_are_equal_in_all_stores(open_documents: OpenPort[Documents]) -> None:
    """The scores follow from the formula alone, not from the database's ranking."""
    await ingest(open_documents, *SHOP)
    assert await found(open_documents, "refund for gift cards?") == [("refunds.md#1", 1.0), ("refunds.md#0", 0.223517)]
    assert await found(open_documents, "ink stains on trousers") == [("pens.md#0", 0.511184)]
    assert [passage for passage, _ in await found(open_documents, "refunds, shipping, leaves")] == [
        "shipping.md#0", "refunds.md#0", "refunds.md#1", "pens.md#0"
    ]  # fmt: skip


async def test_tenants_are_isolated(open_documents: OpenPort[Documents]) -> None:
    """Another tenant's documents are not found, read, listed, deleted or counted in a score."""
    await ingest(open_documents, *SHOP)
    before = await found(open_documents, "refund for gift cards?")
    await ingest(open_documents, draft("refunds.md", "Gift cards: refunded at once."), tenant="rival")
    assert await found(open_documents, "refund for gift cards?") == before
    async with open_documents("third") as documents:
        assert await documents.page("", 10) == []
        assert await documents.delete(["refunds.md"]) == 0
        with pytest.raises(NotFound):
            await documents.get("refunds.md")
    assert (await found(open_documents, "gift", tenant="rival"))[0][0] == "refunds.md#0"


@pytest.mark.parametrize("query", ["the of and", "😀🎉", "\0", "?!", "''", " "])
async def test_query_of_stop_words_finds_nothing(open_documents: OpenPort[Documents], query: str) -> None:
    """Stop words, emoji and punctuation have no terms."""
    await ingest(open_documents, *SHOP)
    assert await found(open_documents, query) == []


OPERATORS = ["refund", "AND", "NOT", "NEAR(", *"()\"'*:^-&|!\\\0%", "''", "<->", ";--"]


async def test_query_text_is_never_query_syntax(open_documents: OpenPort[Documents]) -> None:
    """Operators of the databases in a query are plain words or ignored; no query fails."""
    await ingest(open_documents, *SHOP)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.sampled_from(OPERATORS) | st.text(max_size=20), max_size=12).map(" ".join))
    def record(query: str) -> None:
        queries.append(query)

    queries: list[str] = []
    record()
    for query in queries:
        hits = await found(open_documents, query)
        assert all(0 < score <= 1 for _, score in hits)
        assert bool(hits) <= bool(query_terms(query))
        if "refund" in query_terms(query):
            assert "refunds.md#0" in dict(hits)


async def test_words_of_any_script_are_found(open_documents: OpenPort[Documents]) -> None:
    """Words are Unicode letters and digits, independent of the database's tokenizer."""
    texts = {"ru": "Возврат денег", "ja": "返金", "de": "Rücküberweisung", "n": "A4 3½ 12e5 0x1f ß", "hi": "धनवापसी"}
    await ingest(open_documents, *(draft(key, text) for key, text in texts.items()))
    for key, text in texts.items():
        assert (f"{key}#0", 1.0) in await found(open_documents, text)
        assert {passage for passage, score in await found(open_documents, text) if score == 1.0} == {f"{key}#0"}
