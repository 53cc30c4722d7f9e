"""Splits texts of any language into comparable words, in linear time.

Words are compared in lower case, in compatibility form (NFKC), without diacritics and invisible characters. In scripts
without spaces between words each character is a word.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

SENTENCE_ENDS = frozenset(".?")
SEPARATORS = frozenset(".,?")
"""Words that stand for punctuation: the end of a sentence or line, a pause, a question mark."""

INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
"""Invisible characters that Unicode does not classify as format characters; variation selectors are others."""

_ELISION = re.compile(r"[cdjlmnsty]|(?:lors|puis|jus|quel)?qu|un|gl|quest|quell|sant|(?:[adns][eu]?|co)ll")
"""Words that an apostrophe ends, in French and Italian; in other words it is left out: `dont` for `don't`."""
_APOSTROPHES = frozenset("'’‘ʼ`´ʹʻ′＇")
_SEPARATOR_OF = {
    **dict.fromkeys(".!…。！．｡؛;\n\r\v\f\x85\u2028\u2029।۔", " . "),
    **dict.fromkeys(",，、､،:：()（）[]—–", " , "),
    **dict.fromkeys("?？؟⁇⁈⁉¿", " ? "),
}
_OTHER_FORMS = {"ı": "i", "ł": "l", "ø": "o", "đ": "d", "æ": "ae", "œ": "oe", "ة": "ه", "ى": "ي", "ک": "ك", "ی": "ي"}
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[.,?]")
_ARABIC_PREFIX = re.compile(r"(?:[وفبك]?ال|لل|و)(?=[\u0621-\u064a]{3})")


def words(text: str) -> list[str]:
    """Return the words of the text, and its punctuation as `SEPARATORS`."""
    return [word for found in _WORD.findall(text.translate(_FOLDED)) for word in _split(found)]


def with_numbers(text: Sequence[str]) -> list[str]:
    """Join the parts of each number, which `words` has split at its point: `18.90` is one word then."""
    joined: list[str] = []
    for word in text:
        if word.isdigit() and len(joined) > 1 and joined[-1] in SEPARATORS and joined[-2][-1].isdigit():
            joined[-2:] = [f"{joined[-2]}.{word}"]
        else:
            joined.append(word)
    return joined


def is_invisible(char: str) -> bool:
    """Report whether the character has no form of its own: format characters, tags, variation selectors, fillers."""
    return char in INVISIBLE or unicodedata.category(char) == "Cf" or _is_variation_selector(ord(char))


def _is_variation_selector(code: int) -> bool:
    return 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF or 0x180B <= code <= 0x180F


def is_unspaced(char: str) -> bool:
    """Report whether the character is of a script without spaces between words: Han, kana, Thai, Lao, Khmer."""
    code = ord(char)
    return (
        0x3040 <= code <= 0x30FF
        or 0x3400 <= code <= 0x9FFF
        or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code <= 0x3FFFF
        or 0x0E00 <= code <= 0x0EFF
        or 0x1000 <= code <= 0x109F
        or 0x1780 <= code <= 0x17FF
        or char in "々〆"
    )


class _Folding(dict[int, str]):
    """A table for `str.translate`, filled as characters occur.

    Each character is decomposed alone: normalising a whole text takes quadratic time where it has many marks.
    """

    def __missing__(self, code: int) -> str:
        folded = _folded(chr(code))
        if len(self) < 10_000:
            self[code] = folded
        return folded


def _folded(char: str) -> str:
    if char in _SEPARATOR_OF:
        return _SEPARATOR_OF[char]
    if char in _APOSTROPHES:
        return "'"
    if is_invisible(char) or _is_mark(char):
        return ""
    return "".join(_letters(char))


def _letters(char: str) -> Iterator[str]:
    decomposed = "".join(part for part in unicodedata.normalize("NFKD", char) if not _is_mark(part))
    for part in unicodedata.normalize("NFC", decomposed).casefold():
        for letter in _OTHER_FORMS.get(part, part):
            if is_unspaced(letter):
                yield f" {letter} "
            elif not _is_mark(letter):
                yield letter if letter.isalnum() else " "


def _is_mark(char: str) -> bool:
    """Report whether the character is a diacritic of Latin, Greek, Cyrillic or Arabic, or the Arabic tatweel."""
    code = ord(char)
    return 0x300 <= code <= 0x36F or 0x610 <= code <= 0x61A or 0x64B <= code <= 0x65F or code in (0x640, 0x670)


_FOLDED = _Folding()


def _split(word: str) -> tuple[str, ...]:
    """Separate elided words, join others at their apostrophe, and drop the prefixes that Arabic joins to a word."""
    if "'" in word:
        first, _, rest = word.partition("'")
        return (first, *_split(rest)) if _ELISION.fullmatch(first) else (word.replace("'", ""),)
    if "\u0621" <= word[0] <= "\u064a":
        return (_ARABIC_PREFIX.sub("", word, count=1),)
    return (word,)
