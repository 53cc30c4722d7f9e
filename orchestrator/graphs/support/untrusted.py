"""Quotes untrusted texts for prompts, so that no text can end its quotation."""

import unicodedata
from collections.abc import Iterable

from support.state import Passage

MAX_TITLE_CHARACTERS = 200
MAX_PASSAGE_CHARACTERS = 4_000
MAX_MESSAGE_CHARACTERS = 20_000

_KEPT = "\n\t"
_BRACKETS = str.maketrans({"<": "‹", ">": "›"})
_QUOTES = str.maketrans({'"': "'", "\n": " ", "\t": " "})


def readable(text: str) -> str:
    """Remove control characters, except line breaks and tabs."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(char for char in text if char in _KEPT or unicodedata.category(char) != "Cc").strip()


def has_words(text: str) -> bool:
    """Report whether the text has a letter or a digit."""
    return any(char.isalnum() for char in text)


def quoted(text: str, longest: int) -> str:
    """Quote the text for a prompt, without invisible characters and delimiters.

    Compatibility variants of `<` and `>` become these first (NFKC), and then quotation marks, so that no text opens or
    closes a document.
    """
    visible = "".join(char for char in readable(text) if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFKC", visible)[:longest].translate(_BRACKETS)


def document(passage: Passage) -> str:
    """Quote a passage between its delimiters."""
    title = quoted(passage["title"], MAX_TITLE_CHARACTERS).translate(_QUOTES)
    return f'<document title="{title}">\n{quoted(passage["text"], MAX_PASSAGE_CHARACTERS)}\n</document>'


def question(message: str, passages: Iterable[Passage] = ()) -> str:
    """Build the user message of a prompt: the customer's message, and the passages as documents."""
    return "\n\n".join([quoted(message, MAX_MESSAGE_CHARACTERS), *map(document, passages)])
