"""Understands what a message is about without a language model: by word lists, clause by clause.

It is the stand-in of the offline default, and the check above a language model. What the lists do not have is not
understood, and a clause that denies is never a request.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from graphmesh_nodes.guardrails.languages import language_of
from graphmesh_nodes.guardrails.lexicon import Lexicon, data_files
from graphmesh_nodes.guardrails.words import SENTENCE_ENDS, SEPARATORS, with_numbers, words

Act = Literal["asks_for", "asks_about", "tells", "thanks", "other"]
Cause = Literal["damaged", "wrong", "missing", "late", "charged-twice", "none"]
CAUSES: tuple[Cause, ...] = ("charged-twice", "damaged", "wrong", "missing", "late")
"""Those of a text with several: the first."""
_QUOTED = re.compile(r'["“”„«»]\s?\S{1,60}\s[^"“”„«»]{1,1000}["“”„«»]')
"""Words of another: a quotation of more than one word."""
MIN_TOLD_WORDS = 3
"""A text of fewer words that match nothing says nothing."""
QUESTION_WORDS = 4
"""A question begins within so many words of its clause."""


@dataclass(frozen=True)
class Intent:
    """What a message is about, as far as the lists have its words."""

    act: Act
    wants_money: bool
    """Whether the message requests money back. False for questions about it, denials and reports."""
    negated: bool
    """Whether it denies to want something, or that something is wrong."""
    cause: Cause
    confidence: float
    """From 0 to 1: 0 where no word of it is known."""
    language: str
    """Empty where it is not known."""


@dataclass(frozen=True)
class _Clause:
    """The kinds of phrases in a clause, and where they begin."""

    text: Sequence[str]
    found: dict[str, int]
    is_question: bool
    """Whether its sentence ends with a question mark."""

    @property
    def denies(self) -> bool:
        """A denial; also any negation beside money that is not part of what is wrong, as in `never arrived`."""
        return "denials" in self.found or ("negations" in self.found and "money" in self.found)

    @property
    def asks_about(self) -> bool:
        """A question word near its beginning, a condition, or a sentence with a question mark that requests nothing."""
        if "conditions" in self.found and self.is_question:
            return True
        first = self.found.get("questions", len(self.text))
        return first < min(QUESTION_WORDS, self._request) or (self.is_question and self._request == len(self.text))

    @property
    def requests(self) -> bool:
        return self._request < len(self.text) and not self.asks_about and not self.denies

    @property
    def _request(self) -> int:
        """The place of the first request; the length of the clause where it has none."""
        begins = 0 if self.found.get("imperatives", 1) == 0 else len(self.text)
        return min(begins, self.found.get("requests", len(self.text)))

    @property
    def cause(self) -> Cause:
        return next((cause for cause in CAUSES if cause in self.found and not self.denies), "none")


def intent_of(text: str, language: str = "") -> Intent:
    """Return what a message is about.

    Args:
        language: where it is known otherwise, as that of the message of which the text is a part. A text in no known
            language is read by the lists of all.
    """
    language = language or language_of(text)
    text = _QUOTED.sub(" ", text)
    clauses = list(_clauses(with_numbers(words(text)), language))
    causes = [clause.cause for clause in clauses]
    wants_money = _wants_money(clauses)
    intent = Intent(
        act=_act(clauses),
        wants_money=wants_money,
        negated=not wants_money and any(clause.denies for clause in clauses),
        cause=next((cause for cause in CAUSES if cause in causes), "none"),
        confidence=0.0,
        language=language,
    )
    return replace(intent, confidence=_confidence(intent, clauses))


def _wants_money(clauses: Sequence[_Clause]) -> bool:
    """A clause requests it, no clause with money in it denies or asks about it, and no question has a condition."""
    about_money = [clause for clause in clauses if "money" in clause.found]
    wanted = any(clause.requests for clause in about_money)
    if any(clause.is_question and "conditions" in clause.found for clause in clauses):
        return False
    return wanted and not any(clause.denies or clause.asks_about for clause in about_money)


def _act(clauses: Sequence[_Clause]) -> Act:
    if _wants_money(clauses):
        return "asks_for"
    if any(clause.asks_about for clause in clauses):
        return "asks_about"
    if any(clause.requests for clause in clauses):
        return "asks_for"
    known = {kind for clause in clauses for kind in clause.found}
    size = sum(len(clause.text) for clause in clauses)
    others = sum(len(clause.text) for clause in clauses if "thanks" not in clause.found)
    if known == {"thanks"} and others < MIN_TOLD_WORDS:
        return "thanks"
    return "tells" if known or size >= MIN_TOLD_WORDS else "other"


def _confidence(intent: Intent, clauses: Sequence[_Clause]) -> float:
    """State how many kinds of phrases support it: of a request for money also the cause does."""
    known = {kind for clause in clauses for kind in clause.found}
    if not known:
        return 0.0
    return min(0.9, 0.5 + 0.1 * len(known)) if intent.language else 0.5


def _clauses(text: Sequence[str], language: str) -> Iterator[_Clause]:
    """Split a text at its punctuation."""
    start = 0
    for end in [index for index, word in enumerate(text) if word in SEPARATORS] + [len(text)]:
        if part := text[start:end]:
            yield _Clause(part, _found(part, language), _ends_with_question(text, end))
        start = end + 1


def _ends_with_question(text: Sequence[str], end: int) -> bool:
    """Report whether the sentence of which a clause ends here has a question mark at its end."""
    return next((word for word in text[end : end + 200] if word in SENTENCE_ENDS), "") == "?"


def _found(clause: Sequence[str], language: str) -> dict[str, int]:
    """Return the kinds of phrases in a clause, with the place of the first of each.

    A negation that states what is wrong, as in `never arrived`, denies nothing.
    """
    found: dict[str, int] = {}
    matches = list(_lexicon(language if language in data_files("intent") else "").matches(clause))
    wrong = {place for match in matches if match.value in CAUSES for place in range(match.start, match.end)}
    for match in matches:
        if match.value not in ("negations", "denials") or match.start not in wrong:
            found.setdefault(match.value, match.start)
    return found


@cache
def _lexicon(language: str) -> Lexicon[str]:
    """Return the phrases of a language; of all, where it is empty."""
    files = [data for name, data in data_files("intent").items() if language in ("", name)]
    return Lexicon((phrase, kind) for data in files for kind, phrases in data.items() for phrase in phrases)
