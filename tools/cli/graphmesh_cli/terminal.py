"""Texts of graphs, models and callers on a terminal: characters that would change it are replaced or escaped."""

import re

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but for tabs and line ends, and those that change the direction of text."""


def printable(text: str) -> str:
    """Return a text without the characters that would change a terminal; tabs and line ends are kept."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def escaped(text: str) -> str:
    """Return the same JSON, in which these characters are escaped."""
    return CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
