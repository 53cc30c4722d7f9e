"""Word stems, sentences and tokens of a text."""

import re

WORD = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)?")
TOKEN = re.compile(r"\w+|[^\w\s]")
VOWEL = re.compile("[aeiouy]")
HEADING = re.compile(r"^[^\S\n]*(#.*)$", re.MULTILINE)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)|\n\s*\n|\n(?=\s*(?:[-*>]|\d+\.)\s)")
MARKUP = re.compile(r"^[\s>*-]+|^\s*\d+\.\s+|\*\*|`")
ENDINGS = ("ment", "ing", "ion", "ed", "ly")

STOP_WORDS = frozenset(
    """
    a about after again all also am an and any are as at be because been before being but by can can't could did do
    does doesn't doing don't for from get give given got had has hasn't have haven't having he her here him his how
    i i'd i'll i'm i've if in into is isn't it it's its just know let like made make makes may me might more most my
    no nor not of off on once one only or other our out over please she should so some such tell than thank thanks
    that that's the their them then there these they this those to too under until up us use used user very want
    wants was wasn't we were what what's when where whether which while who whom whose why will with won't would yes
    you you'd you'll you're you've your yours
    """.split()  # noqa: SIM905 - a list of a hundred quoted words is worse to read
)


def stems(text: str) -> frozenset[str]:
    """Return the distinct stems of the words of `text`, without stop words."""
    found = (match.group().lower().replace("’", "'") for match in WORD.finditer(text))
    return frozenset(stem(word.removesuffix("'s")) for word in found if word not in STOP_WORDS)


def stem(word: str) -> str:
    """Reduce inflected forms to one stem: charge, charges, charged and charging become `charg`.

    It is a light stemmer: it removes a plural and one ending, and knows no dictionary.
    """
    word = _without_ending(_singular(word))
    if len(word) > 3:
        word = word.removesuffix("e")
    if word.endswith("y") and len(word) > 2:
        word = f"{word[:-1]}i"
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def _singular(word: str) -> str:
    if len(word) < 4 or word.endswith("ss"):
        return word
    return f"{word[:-3]}y" if word.endswith("ies") else word.removesuffix("s")


def _without_ending(word: str) -> str:
    for ending in ENDINGS:
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= 3 and VOWEL.search(rest):
            return rest
    return word


def sentences(text: str) -> list[str]:
    """Split a plain or Markdown text into sentences, list entries and headings; a heading keeps its `#`."""
    parts = (" ".join(MARKUP.sub("", part).split()) for part in SENTENCE_END.split(HEADING.sub(r"\n\n\1\n\n", text)))
    return [part for part in parts if part]


def count_tokens(text: str) -> int:
    """Count words and punctuation marks; an approximation, not a vendor's tokenizer."""
    return sum(1 for _ in TOKEN.finditer(text))


def truncated(text: str, limit: int) -> str:
    """Truncate `text` to at most `limit` characters, between words where possible."""
    if len(text) <= limit:
        return text
    cut = text[:limit]
    return cut[: cut.rfind(" ")].rstrip() if " " in cut.strip() else cut
