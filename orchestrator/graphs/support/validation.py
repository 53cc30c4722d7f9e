"""Checks a drafted answer before a customer sees it. Deterministic: it counts words and calls no model."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from support import policy, relevance
from support.state import Passage

MIN_RELEVANCE = 0.55
"""Minimum relevance of the best passage."""
MIN_COVERAGE = 0.5
"""Minimum share of the question's words that the answer contains."""
MIN_GROUNDING = 0.7
"""Minimum share of a sentence's words that the passages contain."""
MAX_ANSWER_CHARACTERS = 2_000

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
_CONTACT = re.compile(r"[^\s@<>]{1,64}@[^\s@<>]{1,255}\.\w{1,63}|https?://\S+|\b(?:\d[ -]?){13,19}\b")


def check_answer(question: str, answer: str, passages: Sequence[Passage]) -> Mapping[str, bool]:
    """Check an answer that a model drafted from passages."""
    return {
        "answer.known": is_covered(question, passages),
        "answer.policy": not policy.needs_person(question) and not _DONE.search(answer),
        "answer.tone": _polite(answer),
        "answer.complete": bool(answer) and not _EVASIVE.search(answer) and coverage(question, answer) >= MIN_COVERAGE,
        "answer.sourced": _grounded(answer, passages) and _no_new_contacts(answer, passages),
    }


def check_refund(answer: str, amount: str, invoice: str) -> Mapping[str, bool]:
    """Check the confirmation of a refund."""
    return {"answer.tone": _polite(answer), "answer.complete": amount in answer and invoice in answer}


def sources(answer: str, passages: Sequence[Passage]) -> list[str]:
    """Return the ids of the articles that the answer quotes."""
    used = [
        passage for passage in passages if any(_from(sentence, [passage]) for sentence in relevance.sentences(answer))
    ]
    return list(dict.fromkeys(passage["document_id"] for passage in used))


def is_covered(question: str, passages: Sequence[Passage]) -> bool:
    """Report whether the passages cover the question."""
    return relevance.best(passages) >= MIN_RELEVANCE and relevance.is_specific(question, passages)


def confidence(question: str, answer: str, passages: Sequence[Passage]) -> float:
    """Return the lower of the passages' relevance and the answer's coverage of the question."""
    return round(min(relevance.best(passages), coverage(question, answer)), 3)


def coverage(question: str, answer: str) -> float:
    """Return the share of the question's words that the answer contains, from 0 to 1."""
    return relevance.share(relevance.words(relevance.question_of(question)), answer)


def _polite(answer: str) -> bool:
    return len(answer) <= MAX_ANSWER_CHARACTERS and not _IMPOLITE.search(answer) and not _SHOUTED.search(answer)


def _grounded(answer: str, passages: Sequence[Passage]) -> bool:
    sentences = relevance.sentences(answer)
    return bool(sentences) and all(_from(sentence, passages) for sentence in sentences)


def _from(sentence: str, passages: Iterable[Passage]) -> bool:
    words = relevance.words(sentence)
    return not words or relevance.share(words, " ".join(_texts(passages))) >= MIN_GROUNDING


def _no_new_contacts(answer: str, passages: Sequence[Passage]) -> bool:
    """Accept only addresses, links and card numbers that the articles contain."""
    texts = " ".join(_texts(passages))
    return all(contact in texts for contact in _CONTACT.findall(answer))


def _texts(passages: Iterable[Passage]) -> Iterable[str]:
    return chain.from_iterable((passage["title"], passage["text"]) for passage in passages)
