"""The contract of the document store: in memory, on SQLite, on PostgreSQL."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import pytest_asyncio
from graphmesh_chassis.errors import NotFound
from graphmesh_retrieval import vectors
from graphmesh_retrieval.__main__ import MIGRATIONS
from graphmesh_retrieval.analysis.terms import query_words
from graphmesh_retrieval.documents import Documents
from graphmesh_retrieval.documents_memory import MemoryDocuments
from graphmesh_retrieval.documents_sql import SqlDocuments
from graphmesh_retrieval.documents_tables import metadata
from graphmesh_retrieval.domain import AnalyzedDocument, Draft, Reader, Unreadable
from graphmesh_retrieval.embedders import Vectors, normalized
from graphmesh_retrieval.ingestion import IngestSummary, Retention, add_vectors, analyze, store_changed
from graphmesh_retrieval.searching import Query, Searcher
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.ports import OpenPort, Port
from tests.contract.schema import declared, migrated

DOCUMENTS = Port[Documents](MemoryDocuments, SqlDocuments, MIGRATIONS)
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest_asyncio.fixture
async def open_documents(store_url: str) -> AsyncIterator[OpenPort[Documents]]:
    async with DOCUMENTS.over(store_url) as open_documents:
        yield open_documents


def draft(document_id: str, text: str = "Something.", title: str = "Title", **attributes: str) -> Draft:
    return Draft(document_id, title, f"https://shop.example/{document_id}", text, attributes)


ANYONE = Reader("anyone", frozenset())


SHOP = [
    draft(
        "refunds.md",
        "# Refunds\n\nA refund takes five days.\n\n## Exceptions\n\nGift cards are never refunded.",
        "Refunds",
    ),
    draft("shipping.md", "# Shipping\n\nParcels leave within a day; Canada takes a week.", "Shipping"),
    draft("pens.md", "# Pens\n\nFountain pens need ink. Ink leaves stains.", "Fountain pens"),
]


def results(drafts: Iterable[Draft]) -> dict[str, AnalyzedDocument | Unreadable]:
    last = {draft.document_id: draft for draft in drafts}
    return analyze(last, {key: draft.digest() for key, draft in last.items()}, lambda: False)


def analyzed(*drafts: Draft) -> list[AnalyzedDocument]:
    return [document for document in results(drafts).values() if isinstance(document, AnalyzedDocument)]


async def ingest(open_documents: OpenPort[Documents], *drafts: Draft, tenant: str = "acme") -> IngestSummary:
    async with open_documents(tenant) as documents:
        return await store_changed(documents, results(drafts), 0, datetime.now(UTC), Retention())


async def found(
    open_documents: OpenPort[Documents],
    query: str,
    tenant: str = "acme",
    reader: Reader = ANYONE,
    as_of: datetime | None = None,
) -> list[tuple[str, float]]:
    async with open_documents(tenant) as documents:
        hits = await Searcher().search(tenant, documents, Query(query, reader, 10, as_of=as_of))
    return [(hit.found.passage_id, round(hit.score, 5)) for hit in hits]


async def test_stored_document_is_unchanged(open_documents: OpenPort[Documents]) -> None:
    """Text, uri, attributes in any script, and the number of passages."""
    stored = draft("a/b.md", "Text with ünïcode 😀 and 'quotes'.", "Tïtle", lang="日本語")
    async with open_documents() as documents:
        await documents.put(analyzed(stored), NOW)
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
    assert await found(open_documents, "refund for gift cards?") == [("refunds.md#1", 1.0), ("refunds.md#0", 0.22352)]
    assert await found(open_documents, "ink stains on trousers") == [("pens.md#0", 0.51118)]
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


@pytest.mark.parametrize("query", ["😀🎉", "\0", "?!", "''", " "])
async def test_query_without_words_finds_nothing(open_documents: OpenPort[Documents], query: str) -> None:
    """Emoji and punctuation have no terms."""
    await ingest(open_documents, *SHOP)
    assert await found(open_documents, query) == []


async def test_function_words_are_found_where_a_query_has_no_others(open_documents: OpenPort[Documents]) -> None:
    """Beside other words they only order the passages that have one of these."""
    await ingest(open_documents, draft("who", "The Who", "The Who"), draft("pens", "Pens", "Pens"))
    assert await found(open_documents, "the who") == [("who#0", 1.0)]
    assert await found(open_documents, "who has pens?") == [("pens#0", 1.0)]


async def test_title_counts_more_than_heading_and_heading_more_than_text(open_documents: OpenPort[Documents]) -> None:
    """In texts of the same length, whatever the order in which they are stored."""
    await ingest(
        open_documents,
        draft("text", "Plain walrus is here.", "Lemurs"),
        draft("heading", "# Walrus\n\nPlain penguin is here.", "Zebras"),
        draft("title", "Plain penguin is here.", "Walrus"),
    )
    assert [passage for passage, _ in await found(open_documents, "walrus")] == ["title#0", "heading#0", "text#0"]


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
        assert bool(hits) <= bool(query_words(query, ("en",)))
        if "refund" in [word.text for word in query_words(query, ("en",))]:
            assert "refunds.md#0" in dict(hits)


async def test_words_of_any_script_are_found(open_documents: OpenPort[Documents]) -> None:
    """Words are Unicode letters, marks and digits, independent of the database's tokenizer."""
    texts = {"ru": "Возврат денег", "ja": "返金", "de": "Rücküberweisung", "n": "A4 3½ 12e5 0x1f ß", "hi": "धनवापसी"}
    await ingest(open_documents, *(draft(key, text) for key, text in texts.items()))
    for key, text in texts.items():
        assert (f"{key}#0", 1.0) in await found(open_documents, text)
        assert {passage for passage, score in await found(open_documents, text) if score == 1.0} == {f"{key}#0"}


async def test_passage_is_a_place_in_its_document(open_documents: OpenPort[Documents]) -> None:
    await ingest(open_documents, *SHOP)
    async with open_documents() as documents:
        stored = await documents.passage("refunds.md", 0, 1)
        text = (await documents.get("refunds.md")).text
        with pytest.raises(NotFound):
            await documents.passage("refunds.md", 0, 2)
        with pytest.raises(NotFound):
            await documents.passage("refunds.md", 2, 0)
    assert stored.passage.headings == ("Refunds", "Exceptions")
    assert text[stored.passage.start : stored.passage.end] == stored.passage.text == "Gift cards are never refunded."


async def test_earlier_versions_are_read_listed_and_searched_as_of_a_time(open_documents: OpenPort[Documents]) -> None:
    """A search of the present never finds them."""
    for day, text in enumerate(("All about walruses.", "All about penguins.", "All about seals.")):
        async with open_documents() as documents:
            await documents.put(analyzed(draft("a", text)), NOW + timedelta(days=day))
    second = NOW + timedelta(days=1, hours=1)
    async with open_documents() as documents:
        assert (await documents.get("a")).version == 3
        assert (await documents.get("a", version=1)).text == "All about walruses."
        assert (await documents.get("a", as_of=second)).text == "All about penguins."
        with pytest.raises(NotFound):
            await documents.get("a", as_of=NOW - timedelta(seconds=1))
        listed = await documents.versions("a", 0, 9)
        assert [document.version for document in await documents.versions("a", 3, 1)] == [2]
    assert [(document.version, document.end_time) for document in listed] == [
        (3, None),
        (2, NOW + timedelta(days=2)),
        (1, NOW + timedelta(days=1)),
    ]
    assert await found(open_documents, "penguins") == []
    assert await found(open_documents, "penguins", as_of=second) == [("a#0", 1.0)]
    assert await found(open_documents, "seals", as_of=second) == []


async def test_pruned_versions_are_gone(open_documents: OpenPort[Documents]) -> None:
    """By their number and by their age; the current version stays."""
    for day in range(6):
        async with open_documents() as documents:
            await documents.put(analyzed(draft("a", f"Version {day}")), NOW + timedelta(days=day))
    async with open_documents() as documents:
        await documents.prune(["a"], keep=3, before=NOW + timedelta(days=4))
    async with open_documents() as documents:
        assert [document.version for document in await documents.versions("a", 0, 9)] == [6, 5, 4]
        with pytest.raises(NotFound):
            await documents.get("a", as_of=NOW + timedelta(days=1))
    assert len(await found(open_documents, "version", as_of=NOW + timedelta(days=4))) == 1


async def test_documents_with_readers_are_found_by_them_alone(open_documents: OpenPort[Documents]) -> None:
    """By subject or by scope; hidden passages do not change the scores of others."""
    public, secret, staff = draft("public", "Salaries rise."), draft("secret", "Salaries sink."), draft("staff", "Pay.")
    secret = replace(secret, readers=("subject:alice", "scope:hr.read"))
    await ingest(open_documents, public, secret, replace(staff, readers=("subject:bob",)))
    readers = {
        "everyone": Reader("carol", frozenset({"hr"})),
        "subject": Reader("alice", frozenset()),
        "scope": Reader("carol", frozenset({"hr.read"})),
        "all scopes": Reader("local", None),
    }
    seen = {name: await found(open_documents, "salaries", reader=reader) for name, reader in readers.items()}
    assert seen == {
        "everyone": [("public#0", 1.0)],
        "subject": [("public#0", 1.0), ("secret#0", 1.0)],
        "scope": [("public#0", 1.0), ("secret#0", 1.0)],
        "all scopes": [("public#0", 1.0), ("secret#0", 1.0)],
    }
    assert await found(open_documents, "pay", reader=readers["all scopes"]) == []


class Colours:
    """Embeds a text by the colours that it means."""

    name = "colours"
    meanings = ("red scarlet crimson", "blue azure navy")

    async def embed_texts(self, texts: Sequence[str]) -> Vectors:
        counts = [[sum(word in text.lower() for word in each.split()) for each in self.meanings] for text in texts]
        return normalized(np.asarray(counts, np.float32))


async def test_passages_are_found_by_meaning(open_documents: OpenPort[Documents]) -> None:
    """Also after later ingestions, and never dead or restricted ones."""
    embedder = Colours()
    searcher = Searcher(embedder)

    async def put(*drafts: Draft) -> None:
        async with open_documents() as documents:
            await store_changed(
                documents, await add_vectors(embedder, results(drafts)), 0, datetime.now(UTC), Retention()
            )

    async def similar(query: str) -> list[tuple[str, float]]:
        async with open_documents() as documents:
            hits = await searcher.search("acme", documents, Query(query, ANYONE, 5))
        return [(hit.found.passage_id, round(hit.score, 2)) for hit in hits]

    await put(draft("a", "A scarlet pen."), draft("b", "An azure pen."), draft("none", "A pen."))
    assert await similar("crimson") == [("a#0", 1.0)]
    await put(draft("a", "A navy pen."), replace(draft("c", "A red pen."), readers=("subject:alice",)))
    assert await similar("crimson") == []
    assert await similar("blue") == [("b#0", 1.0), ("a#0", 1.0)]


class Renamed(Colours):
    """Another embedder, whose vectors cannot be compared with the first one's."""

    name = "other"


@pytest.mark.parametrize("most", [vectors.MAX_SEARCHED_PASSAGES, 0], ids=["all vectors", "those of the best by words"])
async def test_vectors_of_another_embedder_are_not_compared(
    open_documents: OpenPort[Documents], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(vectors, "MAX_SEARCHED_PASSAGES", most)
    drafts = (
        draft("words", "Crimson, crimson, blue, azure, navy."),
        draft("meaning", "A scarlet pen, a red one and, at the end of a longer text, a crimson one."),
    )
    first: dict[str, str] = {}
    async with open_documents() as documents:
        embedded = await add_vectors(Colours(), results(drafts))
        await store_changed(documents, embedded, 0, datetime.now(UTC), Retention())
    for embedder in (Colours(), Renamed()):
        async with open_documents() as documents:
            hits = await Searcher(embedder).search("acme", documents, Query("crimson", ANYONE, 5))
        first[embedder.name] = hits[0].found.document.document_id
    assert first == {"colours": "meaning", "other": "words"}


@pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)
async def test_migrations_create_the_declared_tables(store_url: str) -> None:
    assert await migrated(metadata, store_url, MIGRATIONS) == declared(metadata)
