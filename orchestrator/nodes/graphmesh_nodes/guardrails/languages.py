"""Recognises the language of a text, by its script and its function words."""

from collections import Counter
from functools import cache

from graphmesh_nodes.guardrails.lexicon import data_file
from graphmesh_nodes.guardrails.words import words

MAX_CHARACTERS = 4_000
"""Of a text, what is read."""

_SCRIPTS = (("ja", 0x3040, 0x30FF), ("ko", 0xAC00, 0xD7A3), ("zh", 0x4E00, 0x9FFF), ("ar", 0x600, 0x6FF))
_UKRAINIAN = frozenset("іїєґІЇЄҐ")


def language_of(text: str) -> str:
    """Return the BCP 47 code of the language; empty where it is not known, or as likely another one."""
    text = text[:MAX_CHARACTERS]
    return _of_script(text) or _of_words(text)


def _of_script(text: str) -> str:
    """Return the language of the script that most letters have, where it is no Latin one."""
    letters = [char for char in text if char.isalpha()]
    for language, first, last in _SCRIPTS:
        share = sum(first <= ord(char) <= last for char in letters)
        if 4 * share > len(letters) or (language == "ja" and share > 1):
            return language
    if 2 * sum(0x400 <= ord(char) <= 0x4FF for char in letters) > len(letters):
        return "uk" if not _UKRAINIAN.isdisjoint(text) else "ru"
    return ""


def _of_words(text: str) -> str:
    """Return the language with the most function words in the text; a word of several languages counts less."""
    known = _known_words()
    scores: Counter[str] = Counter()
    for word in words(text):
        having = [language for language, list_ in known.items() if word in list_]
        for language in having:
            scores[language] += 12 // len(having)
    ranked = scores.most_common(2)
    return ranked[0][0] if ranked and (len(ranked) == 1 or ranked[0][1] > ranked[1][1]) else ""


@cache
def function_words() -> dict[str, frozenset[str]]:
    """Return the function words by language, in the form of `words`."""
    return {language: frozenset(words(text)) for language, text in data_file("function_words").items()}


@cache
def _known_words() -> dict[str, frozenset[str]]:
    """Return the words that show a language, by language."""
    more = {language: frozenset(words(text)) for language, text in data_file("language_words").items()}
    return {language: found | more.get(language, frozenset()) for language, found in function_words().items()}
