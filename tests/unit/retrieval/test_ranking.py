"""Scores and ranking of passages from posting lists."""

from collections.abc import Sequence

import numpy as np
import pytest
from graphmesh_retrieval.analysis.terms import QueryWord, term_of
from graphmesh_retrieval.documents import Lists
from graphmesh_retrieval.domain import Corpus, IndexedPassage, Passage
from graphmesh_retrieval.postings import BLOCK_PASSAGES, mark_rows, rows_of
from graphmesh_retrieval.ranking import Ranked, Ranking, inverse_frequency
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TEXTS = ["refund card", "refund", "gift card", "card card card", "refund refund"]
WORDS = st.sampled_from(["refund", "card", "gift", "unicorn"])


def word(text: str) -> QueryWord:
    return QueryWord(text, (term_of(text),))


def lists(texts: Sequence[str], first: int = 0, marks: Sequence[tuple[int, int]] = ()) -> Lists:
    passages = []
    for text in texts:
        words = text.split()
        weights = {term_of(found): 4 * words.count(found) for found in words}
        passages.append(IndexedPassage(Passage((), text, 0), weights, len(words)))
    found: dict[int, list[tuple[int, bytes]]] = {}
    for postings in (rows_of(passages, range(first, first + len(texts))), mark_rows(marks)):
        for block, term, _, entries in postings.rows():
            found.setdefault(term, []).append((block, entries))
    return found


def rank(
    query: str, texts: Sequence[str] = TEXTS, first: int = 0, limit: int = 9, hidden: Sequence[int] = (), **least: float
) -> list[Ranked]:
    corpus = Corpus(len(texts), sum(len(text.split()) for text in texts), first + len(texts))
    ranking = Ranking(corpus, np.asarray(hidden, np.int64))
    ranking.add([word(text) for text in dict.fromkeys(query.split())], lists(texts, first))
    return ranking.best(limit, least.get("min_score", 0.0))


def test_score_is_1_for_all_words_and_0_5_for_half_of_equally_rare_ones() -> None:
    found = {ranked.number: ranked.score for ranked in rank("refund card", ["refund card", "refund", "card"])}
    assert found == pytest.approx({0: 1.0, 1: 0.5, 2: 0.5})


def test_rare_words_weigh_more_and_unknown_ones_most() -> None:
    """So a query for an unknown topic scores low, however common its other words are."""
    assert rank("card gift")[0].number == 2
    assert max(ranked.score for ranked in rank("refund unicorn")) < 0.5
    assert inverse_frequency(100, 0) > inverse_frequency(100, 1) > inverse_frequency(100, 100) > 0


def test_repeats_and_short_texts_are_more_relevant() -> None:
    """More occurrences in a shorter passage; equal passages are in the order of their numbers."""
    texts = ["refund " + "filler " * 30, "refund", "refund", "refund refund"]
    assert [ranked.number for ranked in rank("refund", texts)] == [3, 1, 2, 0]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(WORDS, min_size=1), st.integers(1, 6), st.sampled_from([0, BLOCK_PASSAGES - 2, 10**6]))
def test_ranking_is_independent_of_blocks_and_limits(query: list[str], limit: int, first: int) -> None:
    """Passages on both sides of a block's end rank as in one block; a limit cuts the ranking."""
    everywhere = rank(" ".join(query))
    shifted = rank(" ".join(query), first=first, limit=limit)
    assert [ranked.number - first for ranked in shifted] == [ranked.number for ranked in everywhere][:limit]
    assert all(0 < ranked.score <= 1 for ranked in everywhere)
    assert everywhere == sorted(everywhere, key=lambda ranked: (-ranked.relevance, ranked.number))


def test_hidden_passages_are_neither_found_nor_counted() -> None:
    found = rank("refund card", hidden=[0, 4])
    without = rank("refund card", ["", *TEXTS[1:4], ""])
    assert [(ranked.number, ranked.score) for ranked in found] == [(ranked.number, ranked.score) for ranked in without]


def test_min_score_is_applied() -> None:
    assert [ranked.number for ranked in rank("refund card", min_score=0.9)] == [0]


def test_a_passage_with_several_forms_of_a_word_counts_once() -> None:
    """The stems of a word in several languages are synonyms."""
    texts = ["rechnung rechnungen", "rechnung"]
    both = QueryWord("rechnungen", (term_of("rechnung"), term_of("rechnungen")))
    ranking = Ranking(Corpus(2, 3, 2), np.empty(0, np.int64))
    ranking.add([both], lists(texts))
    assert [ranked.score for ranked in ranking.best(5, 0.0)] == [1.0, 1.0]
