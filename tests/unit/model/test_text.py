"""Stems, sentences and tokens of the offline composer."""

import pytest
from graphmesh_model.offline.text import count_tokens, sentences, stem, stems, truncated


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
def test_inflected_forms_have_one_stem(forms: str, common: str) -> None:
    assert {stem(form) for form in forms.split()} == {common}


def test_stop_words_are_omitted() -> None:
    assert stems("Where is my parcel? I'd like to know!") == {"parcel"}


def test_identifiers_are_split_into_words() -> None:
    """So that names of properties and choices count as words."""
    assert stems("customer's refund_request") == stems("customers request a refund")


def test_markdown_is_split_into_sentences() -> None:
    """A heading keeps its marker, a list entry loses it, wrapped lines are joined."""
    text = "# Returns\nYou have 30 days. It is\nfree.\n\n- Pens, too\n- **Ink** not"
    assert sentences(text) == ["# Returns", "You have 30 days.", "It is free.", "Pens, too", "Ink not"]


def test_tokens_are_words_and_punctuation_marks() -> None:
    assert count_tokens("Well, 12.50 EUR!") == 7


def test_truncates_between_words_if_possible() -> None:
    assert truncated("one two three", 9) == "one two"
    assert truncated("onetwothree", 6) == "onetwo"
    assert truncated("one", 3) == "one"
