"""The parts of a conversation that the composer uses: the user's own texts, and the documents."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from graphmesh_model import json_text
from graphmesh_model.domain import Message, System, ToolResult, User
from graphmesh_model.offline.text import sentences, stems

OPENING = re.compile(r"<document\b", re.IGNORECASE)
CLOSING = re.compile(r"</document>", re.IGNORECASE)
TITLE = re.compile(r"""\btitle\s*=\s*(?:"([^"]*)"|'([^']*)')""")
QUOTED_SENTENCES = 3
HEADING_WEIGHT = 0.5


@dataclass(frozen=True)
class Sentence:
    """A sentence of a document, with the stems of the headings above it."""

    text: str
    stems: frozenset[str]
    heading: frozenset[str]

    def relevance(self, question_stems: frozenset[str]) -> float:
        only_in_heading = (self.heading - self.stems) & question_stems
        return len(self.stems & question_stems) + HEADING_WEIGHT * len(only_in_heading)


@dataclass(frozen=True)
class Conversation:
    """The user's texts and the documents of one conversation.

    Documents are only quoted. The choice of a tool and its arguments come from the user's own texts alone, because a
    document is untrusted and must not cause an effect.
    """

    user_texts: tuple[str, ...]
    """Texts of the user's messages without the documents in them, latest first."""
    documents: tuple[tuple[Sentence, ...], ...]

    @classmethod
    def from_messages(cls, messages: tuple[Message, ...]) -> "Conversation":
        users = [message.text for message in messages if isinstance(message, User)]
        return cls(
            user_texts=tuple(_without_documents(text).strip() for text in reversed(users)),
            documents=tuple(chain.from_iterable(_documents(message) for message in messages)),
        )

    @property
    def question(self) -> str:
        """Text of the user's latest message."""
        return self.user_texts[0] if self.user_texts else ""

    @cached_property
    def question_stems(self) -> frozenset[str]:
        return stems(self.question)

    @cached_property
    def quotes(self) -> tuple[Sentence, ...]:
        """The most relevant sentences, in document order; each at least half as relevant as the best, and above 0."""
        sentences = list(chain.from_iterable(self.documents))
        relevance = [sentence.relevance(self.question_stems) for sentence in sentences]
        best = max(relevance, default=0.0)
        ranked = sorted(range(len(sentences)), key=lambda index: -relevance[index])[:QUOTED_SENTENCES]
        relevant = [index for index in sorted(ranked) if relevance[index] > 0 and relevance[index] * 2 >= best]
        return tuple(sentences[index] for index in relevant)

    @cached_property
    def coverage(self) -> float:
        """Share of the question's stems that the quotes contain, from 0 to 1."""
        if not self.question_stems:
            return 0.0
        quoted = frozenset(chain.from_iterable(quote.stems | quote.heading for quote in self.quotes))
        return len(self.question_stems & quoted) / len(self.question_stems)


def _documents(message: Message) -> list[tuple[Sentence, ...]]:
    match message:
        case ToolResult(text=text):
            return [_sentences(_plain_text(text), frozenset())]
        case User(text=text) | System(text=text):
            return [_sentences(body, stems(_title(attributes))) for attributes, body in _elements(text)]
        case _:
            return []


def _elements(text: str) -> list[tuple[str, str]]:
    """Return the attributes and the content of each `document` element."""
    return [(text[tag:content], text[content + 1 : end]) for _, tag, content, end, _ in _spans(text)]


def _without_documents(text: str) -> str:
    """Replace each `document` element by a space."""
    spans = list(_spans(text))
    starts, ends = [*(span[0] for span in spans), len(text)], [0, *(span[-1] for span in spans)]
    return " ".join(text[end:start] for end, start in zip(ends, starts, strict=True))


def _spans(text: str) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield the positions of each `document` element: start, attributes, their end, end of the content, end.

    Each position is searched once. One expression for whole elements would search the rest of a text from each tag.
    """
    position = 0
    while opening := OPENING.search(text, position):
        content = text.find(">", opening.end())
        closing = CLOSING.search(text, content) if content >= 0 else None
        if closing is None:
            return
        yield opening.start(), opening.end(), content, closing.start(), closing.end()
        position = closing.end()


def _title(attributes: str) -> str:
    found = TITLE.search(attributes)
    return (found.group(1) or found.group(2) or "") if found else ""


def _sentences(text: str, title: frozenset[str]) -> tuple[Sentence, ...]:
    found, heading = [], title
    for sentence in sentences(text):
        if sentence.startswith("#"):
            heading = title | stems(sentence)
        else:
            found.append(Sentence(sentence, stems(sentence), heading))
    return tuple(found)


def _plain_text(text: str) -> str:
    """Turn the result of a tool into lines of text: JSON becomes a line for each of its values."""
    try:
        return "\n\n".join(_lines(json_text.loads(text), ""))
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
