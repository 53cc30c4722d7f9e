"""Rates articles by the words that they share with a question: the stand-in where no language model judges them."""

import tomllib
from functools import cache
from pathlib import Path

from graphmesh_nodes.guardrails.languages import function_words
from graphmesh_nodes.guardrails.lexicon import Lexicon

from support.state import Passage
from support.wording import plain_words, sentences, shared

MIN_QUESTION_WORDS = 2
"""A question of fewer informative words is judged with the message around it; with fewer, no article answers it."""
MAX_WORDS = 64
MIN_TRANSLATED = 0.4
"""Least share of the informative words of a question that the glossary has to know."""
ARTICLES = "en"
"""The language of the articles, and of the terms in glossary.toml."""
RARE_WORDS = 1.7
"""Factor of the share of words where the score of retrieval, which weighs words by their rarity, is as high."""


@cache
def _function_words() -> frozenset[str]:
    return frozenset().union(*function_words().values())


def subject_words(text: str) -> frozenset[str]:
    """Return the words that state what the text is about: no function words, no numbers; of a long text the first."""
    found = (word for word in plain_words(text) if not word.isdigit() and word not in _function_words())
    return frozenset(list(dict.fromkeys(found))[:MAX_WORDS])


def question_of(message: str, language: str) -> str:
    """Return the questions in the message, in the language of the articles; all of it if they have too few words."""
    questions = " ".join(part for part in sentences(message) if part.endswith(("?", "？", "؟")))
    question = questions if len(subject_words(questions)) >= MIN_QUESTION_WORDS else message
    return question if language in ("", ARTICLES) else _translated(question)


def _translated(question: str) -> str:
    """Return the subjects that the glossary knows in a question; all of it where these are too few."""
    found = list(dict.fromkeys(match.value for match in _glossary().matches(plain_words(question))))
    needed = max(MIN_QUESTION_WORDS, MIN_TRANSLATED * len(subject_words(question)))
    return " ".join(found) if len(found) >= needed else question


@cache
def _glossary() -> Lexicon[str]:
    terms = tomllib.loads((Path(__file__).parent / "glossary.toml").read_text(encoding="utf-8"))
    return Lexicon((phrase, term) for term, phrases in terms.items() for phrase in phrases)


def rated(question: str, passage: Passage) -> Passage:
    """Rate a passage by the share of the question's words that it has: half by its title, half by title and text.

    Where retrieval finds the rare words of the question in it, fewer of the common ones suffice.
    """
    wanted, title = subject_words(question), plain_words(passage["title"])
    if len(wanted) < MIN_QUESTION_WORDS:
        return {**passage, "score": 0.0}
    in_title = shared(wanted, title) / len(wanted)
    in_all = shared(wanted, [*title, *plain_words(passage["text"])]) / len(wanted)
    words = (in_title + in_all) / 2
    rare = min(words * RARE_WORDS, passage["score"]) if in_title else 0.0
    return {**passage, "score": round(max(words, rare), 3)}
