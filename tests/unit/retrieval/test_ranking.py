"""Scores, ranking and index terms."""

import pytest
from graphmesh_retrieval.analysis import MAX_QUERY_TERMS, query_terms, terms
from graphmesh_retrieval.domain import Candidate, CorpusStatistics, IndexedPassage, Source, bm25, rank, score
from hypothesis import given
from hypothesis import strategies as st

CORPUS = CorpusStatistics(passages=100, terms=2000, frequency={"refund": 20, "card": 20, "gift": 1})
WORDS = st.sampled_from(["refund", "card", "gift", "unicorn"])


def candidate(document_id: str, text: str) -> Candidate:
    return Candidate(Source(document_id, "", ""), 0, IndexedPassage((), text, tuple(text.split())))


def test_score_is_1_for_all_terms_and_0_for_none() -> None:
    assert score(["refund", "card"], CORPUS, ["card", "refund", "other"]) == 1.0
    assert score(["refund", "card"], CORPUS, ["other"]) == 0.0


def test_equally_rare_terms_have_equal_weight() -> None:
    assert score(["refund", "card"], CORPUS, ["card"]) == pytest.approx(0.5)


def test_rare_terms_weigh_more_and_unknown_ones_most() -> None:
    """So a query for an unknown topic scores low, however common its other words are."""
    assert score(["refund", "gift"], CORPUS, ["gift"]) > 0.7
    assert score(["refund", "unicorn"], CORPUS, ["refund"]) < 0.25


@given(st.lists(WORDS, min_size=1), st.lists(WORDS))
def test_score_is_a_share(query: list[str], present: list[str]) -> None:
    """Between 0 and 1, independent of repeated query terms, and not lowered by further present terms."""
    share = score(query, CORPUS, present)
    assert 0.0 <= share <= 1.0
    assert score([*query, *query], CORPUS, present) == share
    assert score(query, CORPUS, [*present, "gift"]) >= share


def test_empty_corpus_scores_0() -> None:
    assert score(["refund"], CorpusStatistics(0, 0, {}), []) == 0.0
    assert rank(["refund"], CorpusStatistics(0, 0, {}), [], limit=5, min_score=0.0) == []


def test_ties_are_broken_by_bm25_then_by_id() -> None:
    """More occurrences in a shorter passage rank higher; equal passages are ordered by id."""
    texts = {"c": "refund", "b": "refund", "a": "refund " + "filler " * 30, "d": "refund refund"}
    hits = rank(["refund"], CORPUS, [candidate(*item) for item in texts.items()], limit=9, min_score=0.5)
    assert [hit.candidate.passage_id for hit in hits] == ["d#0", "b#0", "c#0", "a#0"]
    assert {hit.score for hit in hits} == {1.0}


def test_limit_and_min_score_are_applied() -> None:
    candidates = [candidate("a", "refund card"), candidate("b", "refund"), candidate("c", "card")]
    assert len(rank(["refund", "card"], CORPUS, candidates, limit=2, min_score=0.0)) == 2
    assert [hit.score for hit in rank(["refund", "card"], CORPUS, candidates, limit=9, min_score=0.6)] == [1.0]


def test_bm25_without_matching_terms_is_0() -> None:
    assert bm25(["refund"], CORPUS, ["card"]) == 0.0


def test_word_forms_have_one_term() -> None:
    """Case, accents, endings, apostrophes and typographic variants are normalized."""
    for same in (
        ("Refunds", "refunded", "REFUNDING"),
        ("café’s", "Cafe's", "cafés"),
        ("ﬁne", "fine"),
        ("Straße", "STRASSE"),
    ):
        assert len({terms(word) for word in same}) == 1, same


def test_stop_words_are_omitted() -> None:
    assert query_terms("What's the best way to get in? Don't tell me!") == ("best",)


def test_query_terms_are_distinct_and_limited() -> None:
    assert len(query_terms(" ".join(f"word{n}" for n in range(200)))) == MAX_QUERY_TERMS
    assert query_terms("ink ink inks") == ("ink",)


@given(st.text())
def test_terms_are_ascii_alphanumeric(text: str) -> None:
    """The databases' tokenizers treat only such a term as one word."""
    assert all(term.isascii() and term.isalnum() for term in terms(text))
