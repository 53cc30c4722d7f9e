"""What the offline composer takes for the same word, and for a sentence."""

import pytest
from graphmesh_model.offline.words import count_tokens, sentences, shortened, stem, words


@pytest.mark.parametrize(
    ("forms", "common"),
    [
        ("charge charges charged charging", "charg"),
        ("refund refunds refunded refunding", "refund"),
        ("ship ships shipped shipping shipment", "ship"),
        ("policy policies", "polici"),
        ("address addresses", "addres"),
        ("pay pays paying payment payments", "pai"),
    ],
)
def test_forms_of_a_word_have_one_stem(forms: str, common: str) -> None:
    assert {stem(form) for form in forms.split()} == {common}


def test_words_that_say_nothing_are_left_out() -> None:
    assert words("Where is my parcel? I'd like to know!") == {"parcel"}


def test_an_identifier_is_read_as_its_parts() -> None:
    """So that the names of properties and of choices count as words."""
    assert words("customer's refund_request") == words("customers request a refund")


def test_markdown_falls_into_sentences() -> None:
    """A heading keeps its mark, an entry of a list loses it, a line that only wraps goes on."""
    text = "# Returns\nYou have 30 days. It is\nfree.\n\n- Pens, too\n- **Ink** not"
    assert sentences(text) == ["# Returns", "You have 30 days.", "It is free.", "Pens, too", "Ink not"]


def test_tokens_are_words_and_punctuation_marks() -> None:
    assert count_tokens("Well, 12.50 EUR!") == 7


def test_a_text_is_cut_between_words_where_it_can_be() -> None:
    assert shortened("one two three", 9) == "one two"
    assert shortened("onetwothree", 6) == "onetwo"
    assert shortened("one", 3) == "one"
