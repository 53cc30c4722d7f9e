"""Words, languages and index terms."""

import pytest
from graphmesh_retrieval.analysis.languages import FUNCTION_WORDS, detect
from graphmesh_retrieval.analysis.terms import MAX_QUERY_WORDS, query_words, terms
from graphmesh_retrieval.analysis.words import words as words_of
from hypothesis import given
from hypothesis import strategies as st

ENGLISH = ("en",)


def finds(query: str, text: str, language: str, among: tuple[str, ...] = ()) -> bool:
    """Whether a text in a language has every word of a query."""
    indexed = set(terms(text, language))
    words = query_words(query, among or (language,))
    return bool(words) and all(indexed & set(word.terms) for word in words)


@pytest.mark.parametrize(
    ("language", "query", "text"),
    [
        ("en", "refunding", "Refunds"),
        ("en", "café’s", "CAFES"),
        ("en", "fine", "ﬁne"),
        ("en", "AB-1234", "article AB-1234"),
        ("de", "Rücksendungen", "die Rücksendung"),
        ("de", "Muenchen", "München"),
        ("de", "STRASSE", "Straße"),
        ("de", "Bücher", "das Buch"),
        ("fr", "remboursées", "remboursé"),
        ("fr", "deja", "déjà"),
        ("es", "devoluciones", "devolución"),
        ("ru", "возвратов", "возврат"),
        ("ru", "чернил", "чернила"),
        ("pl", "zwroty", "zwrotów"),
        ("tr", "siparişler", "sipariş"),
        ("el", "επιστροφές", "επιστροφή"),
        ("zh", "退款", "如何申请退款？"),
        ("ja", "返金", "返金はいつですか"),
        ("ja", "インク", "ｲﾝｸの色"),
        ("ko", "환불", "환불은 언제 되나요"),
        ("th", "คืนเงิน", "ขอคืนเงินได้ไหม"),
        ("zh", "墨", "钢笔墨水"),
        ("hi", "धनवापसी", "धनवापसी कब होगी"),
        ("ar", "استرداد", "اِسْتِرْداد"),
        ("vi", "hoan tien", "Hoàn tiền"),
    ],
)
def test_word_forms_are_found(language: str, query: str, text: str) -> None:
    """By language: endings, diacritics, scripts without spaces, and typographic variants."""
    assert finds(query, text, language)


def test_query_finds_texts_in_every_language_of_the_documents() -> None:
    """The language of a query is not known: its words are stemmed in all of them."""
    languages = ("en", "de", "ru")
    assert finds("Rechnungen", "die Rechnung", "de", languages)
    assert finds("invoices", "the invoice", "en", languages)
    assert finds("счета", "счёт", "ru", languages)


def informative(query: str, *languages: str) -> list[str]:
    return [word.text for word in query_words(query, languages) if not word.is_function_word]


def test_function_words_are_marked_unless_a_query_has_no_others() -> None:
    assert informative("What's the best way to get in? Don't tell me!", "en") == ["best"]
    assert informative("to be or not to be", "en") == ["to", "be", "or", "not"]
    assert informative("Wie kann ich die Tinte wechseln?", "de", "en") == ["tinte", "wechseln"]


def test_query_words_are_distinct_and_limited() -> None:
    assert len(query_words(" ".join(f"word{n}" for n in range(200)), ENGLISH)) == MAX_QUERY_WORDS
    assert len(query_words("退款" * 2000, ("zh",))) <= MAX_QUERY_WORDS
    assert query_words("?! 😀 \0", ENGLISH) == []


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "How do I return the pen that I bought from you?"),
        ("de", "Wie kann ich den Füller zurückgeben, den ich bei Ihnen gekauft habe?"),
        ("fr", "Comment puis-je retourner le stylo que j'ai acheté chez vous ?"),
        ("es", "¿Cómo puedo devolver la pluma que compré en su tienda?"),
        ("it", "Come posso restituire la penna che ho comprato da voi?"),
        ("pt", "Como posso devolver a caneta que não quero mais?"),
        ("nl", "Hoe kan ik de pen terugsturen die ik bij u heb gekocht?"),
        ("sv", "Hur kan jag lämna tillbaka pennan som jag köpte av er?"),
        ("fi", "Miten voin palauttaa kynän, jonka ostin, ja milloin se on perillä?"),
        ("pl", "Jak mogę zwrócić pióro, które nie działa?"),
        ("tr", "Satın aldığım kalemi nasıl iade ederim ve ne kadar sürer?"),
        ("ru", "Как мне вернуть ручку?"),
        ("ja", "ペンを返品するにはどうすればいいですか"),
        ("zh", "我怎么退货？"),
        ("ko", "펜을 어떻게 반품하나요?"),
        ("el", "Πώς μπορώ να επιστρέψω την πένα;"),
        ("", "SKU 4711"),
    ],
)
def test_languages_are_detected(language: str, text: str) -> None:
    assert detect(text) == language


def test_function_words_are_in_their_normal_form() -> None:
    """Otherwise no word of a text would match them."""
    for language, words in FUNCTION_WORDS.items():
        assert all(words_of(word) == [word] for word in words), language


@given(st.text(), st.sampled_from(["", "en", "de", "zh"]))
def test_terms_are_integers_of_64_bits(text: str, language: str) -> None:
    assert all(-(2**63) <= term < 2**63 for term in terms(text, language))
