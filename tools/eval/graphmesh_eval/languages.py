"""The language of a text, by its most frequent words: independent of the library that the agents use."""

import re
from collections.abc import Mapping

FREQUENT: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": "the and you your is are have has not for with of to it we this that can will be was or if on an",
        "de": "der die das und ist nicht sie ihr ihre ihnen wir haben für mit ein eine zu den dem es auf kann wurde",
        "fr": "le la les et vous votre est pas nous une un des pour avec que dans ce sur été avons du au ou ne",
        "es": "el la los las usted su es no una un para con que en por hemos del se ha al lo le está",
        "it": "il la le non una un per con che di del della abbiamo nel si su gli alla da sono ha lo al",
        "pt": "os as não uma um para com que de do da em se ao foi por seu sua temos na no",
        "nl": "de het een en is niet uw wij we voor met van dat op in te zijn heeft hebben om er aan kan of",
        "pl": "nie jest się na do że to są przez po jak od dla lub ale za nas został państwa pan pani",
    }.items()
}
MIN_HITS = 3
"""Different words that a text has to have of a language."""
WORD = re.compile(r"[^\W\d_]+")


def language_of(text: str) -> str:
    """Return the language whose frequent words are most in the text; empty where that is not clear."""
    words = frozenset(WORD.findall(text.casefold()))
    hits = sorted(((len(known & words), name) for name, known in FREQUENT.items()), reverse=True)
    (most, language), (second, _) = hits[0], hits[1]
    return language if most >= MIN_HITS and most > second else ""
