"""What a conversation gives the composer to work with: the person's own words, and the documents."""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from graphmesh_model import json_text
from graphmesh_model.domain import Message, System, ToolResult, User
from graphmesh_model.offline.words import sentences, words

DOCUMENT = re.compile(r"<document\b([^>]*)>(.*?)</document>", re.DOTALL | re.IGNORECASE)
TITLE = re.compile(r"""\btitle\s*=\s*(?:"([^"]*)"|'([^']*)')""")
QUOTED_SENTENCES = 3
HEADING_WEIGHT = 0.5


@dataclass(frozen=True)
class Sentence:
    """A sentence of a document, with the words of the headings that it stands under."""

    text: str
    words: frozenset[str]
    heading: frozenset[str]

    def relevance(self, question: frozenset[str]) -> float:
        under = (self.heading - self.words) & question
        return len(self.words & question) + HEADING_WEIGHT * len(under)


@dataclass(frozen=True)
class Material:
    """The parts of a conversation.

    Documents are quoted from and nothing else: which tool is called, and with what arguments, is read from the person's
    own words alone (H4).
    """

    said: tuple[str, ...]
    """What the person said, without documents, the latest first."""
    documents: tuple[tuple[Sentence, ...], ...]

    @classmethod
    def of(cls, messages: tuple[Message, ...]) -> "Material":
        users = [message.text for message in messages if isinstance(message, User)]
        return cls(
            said=tuple(DOCUMENT.sub(" ", text).strip() for text in reversed(users)),
            documents=tuple(chain.from_iterable(_documents(message) for message in messages)),
        )

    @property
    def question(self) -> str:
        """What the person said last."""
        return self.said[0] if self.said else ""

    @cached_property
    def question_words(self) -> frozenset[str]:
        return words(self.question)

    @cached_property
    def quotes(self) -> tuple[Sentence, ...]:
        """The sentences that have most in common with the question, in the documents' order; none that has nothing."""
        sentences = list(chain.from_iterable(self.documents))
        relevance = [sentence.relevance(self.question_words) for sentence in sentences]
        best = max(relevance, default=0.0)
        ranked = sorted(range(len(sentences)), key=lambda place: -relevance[place])[:QUOTED_SENTENCES]
        relevant = [place for place in sorted(ranked) if relevance[place] > 0 and relevance[place] * 2 >= best]
        return tuple(sentences[place] for place in relevant)

    @cached_property
    def coverage(self) -> float:
        """How much of the question the quotes speak of: the share of its words that they contain."""
        if not self.question_words:
            return 0.0
        spoken_of = frozenset(chain.from_iterable(quote.words | quote.heading for quote in self.quotes))
        return len(self.question_words & spoken_of) / len(self.question_words)


def _documents(message: Message) -> list[tuple[Sentence, ...]]:
    match message:
        case ToolResult(text=text):
            return [_sentences(_plain(text), frozenset())]
        case User(text=text) | System(text=text):
            return [_sentences(body, words(_title(attributes))) for attributes, body in DOCUMENT.findall(text)]
        case _:
            return []


def _title(attributes: str) -> str:
    found = TITLE.search(attributes)
    return (found.group(1) or found.group(2) or "") if found else ""


def _sentences(text: str, title: frozenset[str]) -> tuple[Sentence, ...]:
    found, heading = [], title
    for sentence in sentences(text):
        if sentence.startswith("#"):
            heading = title | words(sentence)
        else:
            found.append(Sentence(sentence, words(sentence), heading))
    return tuple(found)


def _plain(text: str) -> str:
    """The result of a tool as lines of text: JSON becomes a line for each of its values."""
    try:
        return "\n\n".join(_lines(json_text.read(text), ""))
    except ValueError:
        return text


def _lines(value: Any, name: str) -> list[str]:
    match value:
        case dict():
            return list(chain.from_iterable(_lines(inner, key) for key, inner in value.items()))
        case list():
            return list(chain.from_iterable(_lines(inner, name) for inner in value))
        case _:
            return [f"{name}: {value}" if name else str(value)]
