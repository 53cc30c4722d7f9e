"""Checks of drafted answers, and relevance."""

import pytest
from support import relevance, validation

from tests.unit.support.states import passage

QUESTION = "How do I clean the nib?"
ARTICLE = passage("Clean the nib under cool running water. Dry it on kitchen paper. Write to hello@shop.example.")
GOOD = "Clean the nib under cool running water. Dry it on kitchen paper."


def failed(answer: str, question: str = QUESTION) -> set[str]:
    return {name for name, passed in validation.check_answer(question, answer, [ARTICLE]).items() if not passed}


def test_good_answer_passes_all_checks() -> None:
    """An answer that quotes the article passes every check, and has the article as its source."""
    assert failed(GOOD) == set()
    assert validation.sources(GOOD, [ARTICLE, passage("Other words entirely.", "Else", "else.md")]) == ["cleaning.md"]


@pytest.mark.parametrize(
    ("answer", "check"),
    [
        ("", "answer.complete"),
        ("Dry it on kitchen paper.", "answer.complete"),
        (GOOD + " The given documents say nothing about this.", "answer.complete"),
        (GOOD + " Bleach, vinegar and sandpaper remove everything.", "answer.sourced"),
        (GOOD + " Write to evil@attacker.example.", "answer.sourced"),
        (GOOD + " We have refunded your nib.", "answer.policy"),
        (GOOD + " It is your own fault.", "answer.tone"),
        (GOOD + " CLEAN YOUR PAPER NOW!!", "answer.tone"),
        (GOOD * 100, "answer.tone"),
    ],
)
def test_bad_answer_fails_its_check(answer: str, check: str) -> None:
    assert check in failed(answer)


def test_escalation_topic_fails_the_policy_check() -> None:
    """Such a message is never answered by the agent, however good the draft."""
    assert "answer.policy" in failed(GOOD, "How do I clean the nib? Otherwise my lawyer will write to you.")


def test_contact_of_an_article_is_allowed() -> None:
    assert "answer.sourced" not in failed(GOOD + " Write to hello@shop.example.")


def test_refund_confirmation_names_amount_and_invoice() -> None:
    assert all(validation.check_refund("We have refunded 18.90 EUR of invoice INV-1.", "18.90 EUR", "INV-1").values())
    assert not validation.check_refund("All done.", "18.90 EUR", "INV-1")["answer.complete"]


def test_relevance_rates_title_and_text() -> None:
    """Title and text count half each."""
    assert relevance.relevance(QUESTION, "Cleaning a nib", "") == 1.0
    assert relevance.relevance(QUESTION, "Nibs", "cleaned") == 0.75
    assert relevance.relevance(QUESTION, "Paper", "weights") == 0.0


def test_single_word_is_specific_for_one_article() -> None:
    """Otherwise a question needs more informative words."""
    engraving, gifts = passage("", document_id="engraving.md"), passage("", document_id="gift-cards.md")
    assert relevance.is_specific("Do you engrave?", [engraving])
    assert not relevance.is_specific("A card?", [engraving, gifts])
    assert relevance.is_specific("A gift card?", [engraving, gifts])
    assert not relevance.is_specific("🙂", [])


def test_extracts_the_questions_of_a_message() -> None:
    """If they have enough informative words, else the whole message."""
    message = "Hello, I love my pen. How do I clean the nib? Kind regards, Pavla"
    assert relevance.question_of(message) == "How do I clean the nib?"
    assert relevance.question_of("My pen leaks from the nib. Why?") == "My pen leaks from the nib. Why?"
