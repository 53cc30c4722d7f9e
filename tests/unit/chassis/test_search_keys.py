"""Texts are compared by their search keys."""

import pytest
from graphmesh_chassis.search_keys import search_key
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("text", ["MIRA  odenwald", " mira odenwald ", "Mira\tOdenwald"])
def test_ignores_letter_case_and_white_space(text: str) -> None:
    assert search_key(text) == search_key("Mira Odenwald")


@given(st.text(), st.text(min_size=1))
def test_separates_texts(left: str, right: str) -> None:
    """A key has one line for each text, and the key of one text has no line break."""
    assert "\n" not in search_key(left)
    assert search_key(left, right).split("\n") == [search_key(left), search_key(right)]
