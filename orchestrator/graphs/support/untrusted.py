"""Texts of other people, as they may stand in a prompt: quoted, and never able to end their quotation (H4)."""

import unicodedata
from collections.abc import Iterable

from support.state import Passage

LONGEST_TITLE = 200
LONGEST_PASSAGE = 4_000
LONGEST_MESSAGE = 20_000

_KEPT = "\n\t"
_BRACKETS = str.maketrans({"<": "‹", ">": "›"})
_QUOTES = str.maketrans({'"': "'", "\n": " ", "\t": " "})


def readable(text: str) -> str:
    """The text without control characters, except line breaks and tabs."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(char for char in text if char in _KEPT or unicodedata.category(char) != "Cc").strip()


def says_something(text: str) -> bool:
    """Whether there is a letter or a digit in it."""
    return any(char.isalnum() for char in text)


def quoted(text: str, longest: int) -> str:
    """The text as it may stand in a prompt: nothing invisible, nothing that looks like one of our delimiters.

    Look-alikes of `<` and `>` become these first (NFKC), and then quotation marks, so that no text opens or closes a
    document.
    """
    visible = "".join(char for char in readable(text) if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFKC", visible)[:longest].translate(_BRACKETS)


def document(passage: Passage) -> str:
    """A passage between its delimiters."""
    title = quoted(passage["title"], LONGEST_TITLE).translate(_QUOTES)
    return f'<document title="{title}">\n{quoted(passage["text"], LONGEST_PASSAGE)}\n</document>'


def question(message: str, passages: Iterable[Passage] = ()) -> str:
    """What the model is asked: the customer's words, and the passages as documents of their own."""
    return "\n\n".join([quoted(message, LONGEST_MESSAGE), *map(document, passages)])
