"""Checks of drafted answers, and the words that they count."""

import pytest
from support import relevance, validation

from tests.unit.support.states import passage

QUESTION = "How do I clean the nib?"
ARTICLE = passage("Clean the nib under cool running water. Dry it on kitchen paper. Write to hello@shop.example.")
GOOD = "Clean the nib under cool running water. Dry it on kitchen paper."


def failed(answer: str, question: str = QUESTION) -> set[str]:
    return {name for name, passed in validation.of_answer(question, answer, [ARTICLE]).items() if not passed}


def test_good_answer() -> None:
    """An answer in the article's words passes every check, and names the article."""
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
def test_bad_answers(answer: str, check: str) -> None:
    """Each fault is caught by its own check."""
    assert check in failed(answer)


def test_answer_to_a_matter_for_people() -> None:
    """Such a message gets no answer of ours, however good."""
    assert "answer.policy" in failed(GOOD, "How do I clean the nib? Otherwise my lawyer will write to you.")


def test_contact_of_the_article_may_be_repeated() -> None:
    """Addresses that the articles give are no leak."""
    assert "answer.sourced" not in failed(GOOD + " Write to hello@shop.example.")


def test_refund_confirmation() -> None:
    """It has to name the amount and the invoice."""
    assert all(validation.of_refund("We have refunded 18.90 EUR of invoice INV-1.", "18.90 EUR", "INV-1").values())
    assert not validation.of_refund("All done.", "18.90 EUR", "INV-1")["answer.complete"]


def test_relevance() -> None:
    """Title and text count half each."""
    assert relevance.relevance(QUESTION, "Cleaning a nib", "") == 1.0
    assert relevance.relevance(QUESTION, "Nibs", "cleaned") == 0.75
    assert relevance.relevance(QUESTION, "Paper", "weights") == 0.0


def test_clear() -> None:
    """A single word is enough where it is the topic of one article alone."""
    engraving, gifts = passage("", document_id="engraving.md"), passage("", document_id="gift-cards.md")
    assert relevance.clear("Do you engrave?", [engraving])
    assert not relevance.clear("A card?", [engraving, gifts])
    assert relevance.clear("A gift card?", [engraving, gifts])
    assert not relevance.clear("🙂", [])


def test_what_is_asked() -> None:
    """The sentences that ask count, where they say enough."""
    message = "Hello, I love my pen. How do I clean the nib? Kind regards, Pavla"
    assert relevance.question(message) == "How do I clean the nib?"
    assert relevance.question("My pen leaks from the nib. Why?") == "My pen leaks from the nib. Why?"
