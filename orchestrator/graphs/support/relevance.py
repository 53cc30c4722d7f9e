"""Rates texts by the words that they share with a question; deterministic."""

import re
from collections.abc import Iterable, Sequence

from support.state import Passage

MIN_QUESTION_WORDS = 2
"""A question of fewer informative words is specific only if a single article matches it."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_SENTENCE = re.compile(r"(?<=[.!?؟])\s+|\n+")
_ENDING = re.compile(r"(?:ings?|ed|es|e|s|ly|ment|ions?)$")
_STOP_WORDS = frozenset(
    """
    a able about actually additional after again ago all already also am an and another any anything anyway are
    around as ask at away back be because been before being believe best but by can can't cannot come could dear did
    didn't do does doesn't doing don't done down each else even ever every few find first for from further get
    getting give go going good got had has hasn't have haven't having he hello help her here hey hi him his hope how
    however i i'd i'll i'm i've if in into is isn't it it's its just keep kind kindly know last let like long look
    looking made make making many may maybe me might more most much must my need needed needs never new next no nor
    not now of off oh ok on once one only or other our out over own please possible properly question quite rather
    really regards right said same say see seem several shall she should show since so some someone something soon
    still such sure take tell than thank thanks that that's the their them then there there's these they thing
    things think this those though through time times to today told too tried try trying two under until up us use
    used using very via want wanted wants was wasn't way we well were what what's when where whether which while who
    whom whose why will wish with within without won't wonder wondering work working would yes yet you you'd you'll
    you're you've your yours
    """.split()  # noqa: SIM905 - a list of two hundred quoted words is worse to read
)


def words(text: str) -> frozenset[str]:
    """Return the stems of the words of `text`, without stop words and numbers."""
    found = (word.casefold().replace("’", "'") for word in _WORD.findall(text))
    return frozenset(_stem(word.removesuffix("'s")) for word in found if _informative(word))


def _stem(word: str) -> str:
    stem = _ENDING.sub("", word) if len(word) > 4 else word.removesuffix("s")
    return stem[:-1] if len(stem) > 3 and stem[-1] == stem[-2] else stem


def _informative(word: str) -> bool:
    return len(word) > 1 and not word.isdigit() and word not in _STOP_WORDS


def sentences(text: str) -> list[str]:
    return [sentence for sentence in _SENTENCE.split(text.strip()) if _WORD.search(sentence)]


def question_of(message: str) -> str:
    """Return the questions in the message; the whole message if they have too few informative words."""
    questions = " ".join(sentence for sentence in sentences(message) if sentence.rstrip().endswith(("?", "؟")))
    return questions if len(words(questions)) >= MIN_QUESTION_WORDS else message


def share(wanted: frozenset[str], text: str) -> float:
    """Return the share of the wanted words that the text contains, from 0 to 1."""
    return len(wanted & words(text)) / len(wanted) if wanted else 0.0


def relevance(message: str, title: str, text: str) -> float:
    """Rate a passage by the message's question, from 0 to 1: half by the title, half by title and text."""
    question = words(question_of(message))
    return round((share(question, title) + share(question, f"{title} {text}")) / 2, 3)


def is_specific(message: str, passages: Sequence[Passage]) -> bool:
    """Report whether the question has enough informative words, or matches the passages of a single article."""
    articles = {passage["document_id"] for passage in passages}
    return len(words(question_of(message))) >= MIN_QUESTION_WORDS or len(articles) == 1


def best(passages: Iterable[Passage]) -> float:
    """Return the relevance of the best passage; 0 if there is none."""
    return max((passage["relevance"] for passage in passages), default=0.0)
