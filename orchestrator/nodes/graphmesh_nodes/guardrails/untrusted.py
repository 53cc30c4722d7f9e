"""Prepares texts of others for prompts: what people cannot see is removed, and no text can end its quotation."""

import re
import unicodedata
from functools import cache

from graphmesh_nodes.guardrails.lexicon import Lexicon, data_file
from graphmesh_nodes.guardrails.words import is_invisible, words

MAX_CHARACTERS = 20_000
MAX_TITLE_CHARACTERS = 200

_KEPT = "\n\t"
_JOINERS = frozenset("\u200c\u200d")
"""Invisible characters that some scripts and emoji need."""
_BRACKETS = str.maketrans({"<": "‹", ">": "›"})
_MARKUP = re.compile(r"<[/!?]?[A-Za-z][^<>]{0,2000}>|<!--|-->")
_LINK = re.compile(r"!?\[([^\[\]]{0,500})\]\([^()\s]{0,2000}(?:\s[^()]{0,500})?\)")
_QUOTES = str.maketrans({'"': "'", "\n": " ", "\t": " "})


def readable(text: str) -> str:
    """Return what a person sees of the text: no control characters, direction marks, tags or other invisible ones."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(char for char in text if _is_readable(char)).strip()


def _is_readable(char: str) -> bool:
    if char in _KEPT or char in _JOINERS:
        return True
    return unicodedata.category(char) not in ("Cc", "Co", "Cs") and not is_invisible(char)


def delimited(tag: str, text: str, title: str = "") -> str:
    """Return the text between tags, for a message of its own.

    Compatibility variants of `<` and `>` become these first, and then quotation marks, so that no text opens or closes
    a tag.
    """
    named = f' title="{_quoted(title, MAX_TITLE_CHARACTERS).translate(_QUOTES)}"' if title else ""
    return f"<{tag}{named}>\n{_quoted(text, MAX_CHARACTERS)}\n</{tag}>"


def _quoted(text: str, longest: int) -> str:
    """Normalise character by character: of a whole text it takes quadratic time where it has many marks."""
    shown = readable(text[:longest])
    return "".join(unicodedata.normalize("NFKC", char) for char in shown).translate(_BRACKETS)[:longest]


def plain(text: str) -> str:
    """Return readable text without markup: links and images of Markdown as their texts, tags of HTML left out."""
    return _MARKUP.sub("", _LINK.sub(r"\1", readable(text)))


def flags(text: str) -> tuple[str, ...]:
    """Return the phrases with which a text seems to instruct a model, by the word list; to drop or mark a passage.

    An instruction in other words has none: what holds is that no text chooses a tool, an argument or a recipient.
    """
    return tuple(dict.fromkeys(match.phrase for match in _instructions().matches(words(text))))


@cache
def _instructions() -> Lexicon[None]:
    return Lexicon((phrase, None) for phrase in data_file("instructions")["phrases"])
