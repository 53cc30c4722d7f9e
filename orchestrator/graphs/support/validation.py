"""Checks of a drafted answer before a customer sees it. Deterministic: words are counted, nobody is asked."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from support import policy, relevance
from support.state import Passage

KNOWN_ENOUGH = 0.55
"""The least relevance of the best passage."""
SPOKEN_OF = 0.5
"""The least share of the question's words that the answer takes up."""
GROUNDED = 0.7
"""The least share of a sentence's words that the passages have."""
LONGEST_ANSWER = 2_000

_IMPOLITE = re.compile(
    r"\b(?:stupid|idiot\w*|ridiculous|nonsense|calm\s+down|your\s+own\s+fault|as\s+i\s+said)\b", re.I
)
_SHOUTED = re.compile(r"!!|\b[A-Z]{4,}\b(?:\s+\b[A-Z]{4,}\b){2}")
_DONE = re.compile(
    r"\b(?:I|we)(?:\s+have|'ve|’ve)\s+(?:just\s+|now\s+|already\s+)?(?:refunded|cancelled|canceled|changed|credited|sent|charged)\b",
    re.I,
)
_EVASIVE = re.compile(
    r"\b(?:say nothing about|do(?:es)?n['’]?o?t know|cannot answer|can['’]t answer|offline demo)\b", re.I
)
_CONTACT = re.compile(r"[^\s@<>]+@[^\s@<>]+\.\w+|https?://\S+|\b(?:\d[ -]?){13,19}\b")


def of_answer(question: str, answer: str, passages: Sequence[Passage]) -> Mapping[str, bool]:
    """The checks of an answer that a model drafted from passages."""
    return {
        "answer.known": known(question, passages),
        "answer.policy": not policy.wants_person(question) and not _DONE.search(answer),
        "answer.tone": _polite(answer),
        "answer.complete": bool(answer) and not _EVASIVE.search(answer) and spoken_of(question, answer) >= SPOKEN_OF,
        "answer.sourced": _grounded(answer, passages) and _no_new_contacts(answer, passages),
    }


def of_refund(answer: str, amount: str, invoice: str) -> Mapping[str, bool]:
    """The checks of what is said about a refund that was made."""
    return {"answer.tone": _polite(answer), "answer.complete": amount in answer and invoice in answer}


def sources(answer: str, passages: Sequence[Passage]) -> list[str]:
    """The ids of the articles whose text the answer has sentences of."""
    used = [
        passage for passage in passages if any(_from(sentence, [passage]) for sentence in relevance.sentences(answer))
    ]
    return list(dict.fromkeys(passage["document_id"] for passage in used))


def known(question: str, passages: Sequence[Passage]) -> bool:
    """Whether the knowledge covers the question."""
    return relevance.best(passages) >= KNOWN_ENOUGH and relevance.clear(question, passages)


def confidence(question: str, answer: str, passages: Sequence[Passage]) -> float:
    """The weaker of: how much the knowledge says of the question, and how much of it the answer takes up."""
    return round(min(relevance.best(passages), spoken_of(question, answer)), 3)


def spoken_of(question: str, answer: str) -> float:
    """The share of what is asked that the answer takes up."""
    return relevance.share(relevance.words(relevance.question(question)), answer)


def _polite(answer: str) -> bool:
    return len(answer) <= LONGEST_ANSWER and not _IMPOLITE.search(answer) and not _SHOUTED.search(answer)


def _grounded(answer: str, passages: Sequence[Passage]) -> bool:
    sentences = relevance.sentences(answer)
    return bool(sentences) and all(_from(sentence, passages) for sentence in sentences)


def _from(sentence: str, passages: Iterable[Passage]) -> bool:
    said = relevance.words(sentence)
    return not said or relevance.share(said, " ".join(_texts(passages))) >= GROUNDED


def _no_new_contacts(answer: str, passages: Sequence[Passage]) -> bool:
    """Addresses, links and card numbers are only those that the articles give."""
    known = " ".join(_texts(passages))
    return all(contact in known for contact in _CONTACT.findall(answer))


def _texts(passages: Iterable[Passage]) -> Iterable[str]:
    return chain.from_iterable((passage["title"], passage["text"]) for passage in passages)
