"""Recognises emergencies in messages, in several languages, before any model is asked.

It prefers a false alarm to a missed one: a person reads what is recognised.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from graphmesh_nodes.guardrails.lexicon import Lexicon, data_files
from graphmesh_nodes.guardrails.words import words

Topic = Literal["self-harm", "poison", "injury", "threat", "account-takeover", "legal", "privacy"]
TOPICS: tuple[Topic, ...] = ("self-harm", "poison", "injury", "threat", "account-takeover", "legal", "privacy")
"""The most urgent first."""


@dataclass(frozen=True)
class Urgency:
    """An emergency in a text."""

    topic: Topic
    language: str
    """Of the word list."""
    phrase: str
    """As the word list has it."""


def urgency_of(text: str) -> Urgency | None:
    """Return the most urgent emergency of the text, in whatever language; None where there is none."""
    found = list(_found(words(text)))
    return min(found, key=lambda urgency: TOPICS.index(urgency.topic), default=None)


def _found(text: list[str]) -> Iterator[Urgency]:
    urgent, harmless = _lexicons()
    excepted = [(match.start, match.end) for match in harmless.matches(text)]
    for match in urgent.matches(text):
        if not any(start < match.end and match.start < end for start, end in excepted):
            yield Urgency(match.value[0], match.value[1], match.phrase)


@cache
def _lexicons() -> tuple[Lexicon[tuple[Topic, str]], Lexicon[None]]:
    """Return the phrases of emergencies, and those that only sound like one."""
    files = data_files("urgency").items()
    lists = [(topic, language, data[topic]) for language, data in files for topic in TOPICS if topic in data]
    urgent = Lexicon((phrase, (topic, language)) for topic, language, entries in lists for phrase in entries["phrases"])
    harmless = Lexicon((phrase, None) for _, __, entries in lists for phrase in entries.get("unless", ()))
    return urgent, harmless
