"""What a score means (F1): the share of what is asked that a passage has."""

import pytest
from graphmesh_retrieval.analysis import MOST, query_terms, terms
from graphmesh_retrieval.domain import Candidate, Corpus, Entry, Section, Source, bm25, rank, score
from hypothesis import given
from hypothesis import strategies as st

CORPUS = Corpus(passages=100, terms=2000, frequency={"refund": 20, "card": 20, "gift": 1})
WORDS = st.sampled_from(["refund", "card", "gift", "unicorn"])


def candidate(document_id: str, text: str) -> Candidate:
    return Candidate(Source(document_id, "", ""), 0, Entry(Section((), text), tuple(text.split())))


def test_all_of_the_query_is_one_and_nothing_of_it_is_zero() -> None:
    assert score(["refund", "card"], CORPUS, ["card", "refund", "other"]) == 1.0
    assert score(["refund", "card"], CORPUS, ["other"]) == 0.0


def test_equally_rare_words_weigh_the_same() -> None:
    assert score(["refund", "card"], CORPUS, ["card"]) == pytest.approx(0.5)


def test_a_rare_word_weighs_more_and_an_unknown_one_most() -> None:
    """So a question about something that nobody wrote about scores low, however common its other words are."""
    assert score(["refund", "gift"], CORPUS, ["gift"]) > 0.7
    assert score(["refund", "unicorn"], CORPUS, ["refund"]) < 0.25


@given(st.lists(WORDS, min_size=1), st.lists(WORDS))
def test_a_score_is_a_share(query: list[str], present: list[str]) -> None:
    """Between 0 and 1, the same however often and in what order words are asked, and never less for more words."""
    share = score(query, CORPUS, present)
    assert 0.0 <= share <= 1.0
    assert score([*query, *query], CORPUS, present) == share
    assert score(query, CORPUS, [*present, "gift"]) >= share


def test_a_corpus_without_passages_scores_nothing() -> None:
    assert score(["refund"], Corpus(0, 0, {}), []) == 0.0
    assert rank(["refund"], Corpus(0, 0, {}), [], limit=5, min_score=0.0) == []


def test_ties_are_broken_by_bm25_then_by_id() -> None:
    """More of a word in fewer words is better; what is equal comes in the order of ids."""
    texts = {"c": "refund", "b": "refund", "a": "refund " + "filler " * 30, "d": "refund refund"}
    hits = rank(["refund"], CORPUS, [candidate(*item) for item in texts.items()], limit=9, min_score=0.5)
    assert [hit.candidate.passage_id for hit in hits] == ["d#0", "b#0", "c#0", "a#0"]
    assert {hit.score for hit in hits} == {1.0}


def test_limit_and_min_score_are_kept() -> None:
    candidates = [candidate("a", "refund card"), candidate("b", "refund"), candidate("c", "card")]
    assert len(rank(["refund", "card"], CORPUS, candidates, limit=2, min_score=0.0)) == 2
    assert [hit.score for hit in rank(["refund", "card"], CORPUS, candidates, limit=9, min_score=0.6)] == [1.0]


def test_bm25_of_a_passage_without_the_words_is_zero() -> None:
    assert bm25(["refund"], CORPUS, ["card"]) == 0.0


def test_words_that_are_one_have_one_term() -> None:
    """Case, accents, endings, apostrophes and typographic forms do not part words."""
    for same in (
        ("Refunds", "refunded", "REFUNDING"),
        ("café’s", "Cafe's", "cafés"),
        ("ﬁne", "fine"),
        ("Straße", "STRASSE"),
    ):
        assert len({terms(word) for word in same}) == 1, same


def test_stop_words_are_no_terms() -> None:
    assert query_terms("What's the best way to get in? Don't tell me!") == ("best",)


def test_a_query_has_at_most_so_many_different_terms() -> None:
    assert len(query_terms(" ".join(f"word{n}" for n in range(200)))) == MOST
    assert query_terms("ink ink inks") == ("ink",)


@given(st.text())
def test_a_term_is_ascii_whatever_the_text(text: str) -> None:
    """The indexes take nothing else for one word."""
    assert all(term.isascii() and term.isalnum() for term in terms(text))
