"""Understands a short reply to a question of yes or no, in any known language.

The whole text must be yes or no: with a condition, a question, a negation or any word more it is neither.
"""

import unicodedata
from functools import cache
from typing import Literal

from graphmesh_nodes.guardrails.lexicon import Lexicon, data_file
from graphmesh_nodes.guardrails.words import SEPARATORS, is_invisible, words

Reply = Literal["accept", "decline", "other"]
MAX_CHARACTERS = 100
"""A longer text says more than yes or no."""

_PLAIN_PUNCTUATION = frozenset(" \t\n\r.,!…。！，、،:-'’‘`\"“”«»„()*")
_HARMLESS_INVISIBLE = frozenset("\u200d\u200e\u200f\ufe0e\ufe0f")
"""Joiners of emoji, and marks that keyboards for Arabic and Hebrew enter."""
_SKIN_TONES = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
_Sense = Literal["accept", "decline", "polite"]


def reply_of(text: str) -> Reply:
    """Report what the whole text is: `accept`, `decline`, or `other`."""
    if len(text) > MAX_CHARACTERS:
        return "other"
    senses = _symbols(text) | _phrases([word for word in words(text) if word not in SEPARATORS])
    senses.discard("polite")
    if senses == {"accept"}:
        return "accept"
    return "decline" if senses == {"decline"} else "other"


def _symbols(text: str) -> set[_Sense | None]:
    """Return the senses of what is neither word nor plain punctuation; None for what has none, such as `?` or `+`."""
    accept, decline = _lexicon()[1]
    senses: set[_Sense | None] = set()
    for char in text:
        if char in accept:
            senses.add("accept")
        elif char in decline:
            senses.add("decline")
        elif char not in _SKIN_TONES and not _is_plain(char):
            senses.add(None)
    return senses


def _is_plain(char: str) -> bool:
    if char in _PLAIN_PUNCTUATION or char in _HARMLESS_INVISIBLE:
        return True
    return unicodedata.category(char)[0] in "LM" and not is_invisible(char)


def _phrases(text: list[str]) -> set[_Sense | None]:
    """Return the senses of the phrases that the text consists of, the longest first; None for a word without one."""
    longest: dict[int, tuple[int, _Sense | None]] = {}
    for match in _lexicon()[0].matches(text):
        if match.end > longest.get(match.start, (0, None))[0]:
            longest[match.start] = (match.end, match.value)
    senses: set[_Sense | None] = set()
    at = 0
    while at < len(text):
        at, sense = longest.get(at, (at + 1, None))
        senses.add(sense)
    return senses


@cache
def _lexicon() -> tuple[Lexicon[_Sense], tuple[frozenset[str], frozenset[str]]]:
    data = data_file("replies")
    senses: tuple[_Sense, ...] = ("accept", "decline", "polite")
    symbols = data["symbols"]
    return (
        Lexicon((phrase, sense) for sense in senses for phrase in data[sense]),
        (frozenset(symbols["accept"]), frozenset(symbols["decline"])),
    )
