"""Rates articles by the words that they share with a question: the stand-in where no language model judges them."""

from functools import cache

from graphmesh_nodes.guardrails.languages import function_words

from support.state import Passage
from support.wording import plain_words, sentences, shared

MIN_QUESTION_WORDS = 2
"""A question of fewer informative words is judged with the message around it."""
MAX_WORDS = 64
RARE_WORDS = 1.7
"""Factor of the share of words where the score of retrieval, which weighs words by their rarity, is as high."""


@cache
def _function_words() -> frozenset[str]:
    return frozenset().union(*function_words().values())


def subject_words(text: str) -> frozenset[str]:
    """Return the words that state what the text is about: no function words, no numbers; of a long text the first."""
    found = (word for word in plain_words(text) if not word.isdigit() and word not in _function_words())
    return frozenset(list(dict.fromkeys(found))[:MAX_WORDS])


def question_of(message: str) -> str:
    """Return the questions in the message; the whole message if they have too few informative words."""
    questions = " ".join(part for part in sentences(message) if part.endswith(("?", "？", "؟")))
    return questions if len(subject_words(questions)) >= MIN_QUESTION_WORDS else message


def rated(question: str, passage: Passage) -> Passage:
    """Rate a passage, of which retrieval has given the score, by the words of its title and its text too.

    Where retrieval finds the rare words of the question in it, fewer of the common ones suffice.
    """
    words = relevance(question, passage)
    return {**passage, "score": round(max(words, min(words * RARE_WORDS, passage["score"])), 3)}


def relevance(question: str, passage: Passage) -> float:
    """Return the share of the question's words that a passage has: half by its title, half by title and text."""
    wanted = subject_words(question)
    title = plain_words(passage["title"])
    found = shared(wanted, title) + shared(wanted, [*title, *plain_words(passage["text"])])
    return found / (2 * len(wanted)) if wanted else 0.0
