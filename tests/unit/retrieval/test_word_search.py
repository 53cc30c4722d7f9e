"""Searches of large corpora, which read the postings of common words in part."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from graphmesh_retrieval import word_search
from graphmesh_retrieval.analysis.terms import QueryWord, term_of
from graphmesh_retrieval.documents import Lists, Surveyed
from graphmesh_retrieval.domain import Corpus, IndexedPassage, Passage
from graphmesh_retrieval.postings import BLOCK_PASSAGES, rows_of
from graphmesh_retrieval.ranking import Ranked
from graphmesh_retrieval.word_search import Plan, plan_words, rank_by_words
from hypothesis import given, settings
from hypothesis import strategies as st

BLOCKS = 20
PASSAGES = 400
WORDS = [f"w{rank}" for rank in range(60)]


class Index:
    """Passages of random words in many blocks, and the postings of them that were read."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        frequencies = 1 / np.arange(1, len(WORDS) + 1)
        chosen = random.choice(len(WORDS), (PASSAGES, 12), p=frequencies / frequencies.sum())
        passages = [IndexedPassage(Passage((), "", 0), self._weights(row.tolist()), 12) for row in chosen]
        numbers = np.sort(random.choice(BLOCKS * BLOCK_PASSAGES, PASSAGES, replace=False)).tolist()
        self._rows: dict[int, dict[int, bytes]] = {}
        for block, term, _, entries in rows_of(passages, numbers).rows():
            self._rows.setdefault(term, {})[block] = entries
        self.corpus = Corpus(PASSAGES, PASSAGES * 12, BLOCKS * BLOCK_PASSAGES, blocks=range(BLOCKS))
        self.read = 0

    async def survey(self, terms: Sequence[int]) -> dict[int, Surveyed]:
        return {
            term: Surveyed(sum(map(len, rows.values())) // 4, list(rows.items()) if len(rows) <= 3 else None)
            for term, rows in self._rows.items()
            if term in terms
        }

    async def lists(self, terms: Sequence[int], blocks: Sequence[int] | None = None) -> Lists:
        found = {
            term: [row for row in self._rows[term].items() if blocks is None or row[0] in blocks]
            for term in terms
            if term in self._rows
        }
        self.read += sum(len(entries) // 4 for rows in found.values() for _, entries in rows)
        return found

    def _weights(self, words: list[int]) -> dict[int, int]:
        return {term_of(WORDS[word]): 4 * words.count(word) for word in words}


async def rank(index: Any, plan: Plan, limit: int, min_score: float) -> list[Ranked]:
    lists = await index.lists(plan.first_terms())
    return await rank_by_words(index, index.corpus, plan, lists, np.empty(0, np.int64), limit, min_score)


def words(texts: Sequence[str], function_words: Sequence[str] = ()) -> list[QueryWord]:
    return [QueryWord(text, (term_of(text),), text in function_words) for text in dict.fromkeys(texts)]


def comparable(ranked: Sequence[Ranked]) -> list[tuple[float, float]]:
    """Return relevance and score, rounded: equal ones are in any order, since sums of floats depend on theirs."""
    return [(round(passage.relevance, 3), round(passage.score, 3)) for passage in ranked]


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 3),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=8),
    st.integers(1, 30),
    st.sampled_from([0.0, 0.0, 0.3, 0.7]),
)
async def test_reading_in_part_finds_the_same(seed: int, texts: list[str], limit: int, min_score: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_search, "FIRST_POSTINGS", 20)
        index: Any = Index(seed)
        query = words(texts, function_words=WORDS[:2] if set(texts) - set(WORDS[:2]) else ())
        plan = await plan_words(index, query, index.corpus)
        content = [word for word in query if not word.is_function_word]
        whole = Plan(content, others=[word for word in query if word.is_function_word])
        in_part = await rank(index, plan, limit, min_score)
        assert comparable(in_part) == comparable(await rank(index, whole, limit, min_score))


async def test_common_words_are_read_for_candidates_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_search, "FIRST_POSTINGS", 20)
    index: Any = Index(1)
    common, rare = WORDS[0], WORDS[-1]
    plan = await plan_words(index, words([common, rare]), index.corpus)
    assert await rank(index, plan, 1, 0.0)
    assert index.read < (await index.survey([term_of(common)]))[term_of(common)].size / 2


async def test_postings_of_very_common_words_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rarest word is always read, and the others within the budgets."""
    for budget in ("FIRST_POSTINGS", "MAX_POSTINGS", "MAX_CANDIDATE_POSTINGS"):
        monkeypatch.setattr(word_search, budget, 100)
    index: Any = Index(2)
    plan = await plan_words(index, words(WORDS), index.corpus)
    assert len(await rank(index, plan, 5, 0.0)) == 5
    assert index.read <= 500
