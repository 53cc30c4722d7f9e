"""Each number of a text is in the rows, or computed from them."""

import pytest
from analyst.numbers import misattributed, unchecked, unsupported
from hypothesis import given
from hypothesis import strategies as st

ROWS = [["A", 1234.5], ["B", 200], ["2026-06", 65.5]]


@pytest.mark.parametrize(
    "text",
    [
        "A has 1234.5.",
        "A has 1,234.50, in German 1.234,50, in French 1 234,5.",
        "About 1235, or 1,200 less by 34.5.".replace("1,200 less by 34.5", "1034.5 more than B"),
        "Together 1500, on average 500.",
        "A has 82.3 % and B 13 %.",
        "B is 3.05 times as much as the last.",
        "In 2026-06 it was 66.",
        "There are 3 rows.",
    ],
)
def test_supported_numbers(text: str) -> None:
    assert unsupported(text, ROWS) == []


@pytest.mark.parametrize("number", ["1236", "1,235.6", "83 %", "2027", "1500.5", "0.7", "7 rows", "12345"])
def test_other_numbers(number: str) -> None:
    assert unsupported(f"It is {number}.", ROWS) == [number.split()[0]]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("A has 1234.5 of 1500.", []),
        ("A has 82.3 %. B has 200.", []),
        ("A has 200, and B has 1234.5.", []),
        ("A has 1500.", ["A"]),
        ("A is first. B has 65.5.", ["A", "B"]),
    ],
)
def test_sentences_state_the_values_of_the_rows_that_they_name(text: str, labels: list[str]) -> None:
    assert misattributed(text, ROWS) == labels


@pytest.mark.parametrize(
    "text",
    [
        *(
            "A has three.",
            "A has twenty-one.",
            "A hat zwölf.",
            "A hat einundzwanzig.",
            "A en a trente-deux.",
            "A tiene mil.",
        ),
        *(
            "A has none.",
            "A is a third of B.",
            "A has 2k.",
            "A has 2 M.",
            "A has 2e9.",
            "A has ½.",
            "A has ².",
            "A has III.",
        ),
        *("A ha ventuno.", "A tem vinte.", "A heeft tweehonderd.", "A ma dwadzieścia."),
    ],
)
def test_numbers_in_other_forms_are_not_checked(text: str) -> None:
    assert unchecked(text, ROWS)


def test_words_of_the_rows_and_digits_are_no_such_numbers() -> None:
    assert (
        unchecked("Three Doors 2U have 1,234.50 EUR, 82.3 % in 2026-06, a similar weight.", [["Three Doors 2U", 1]])
        == []
    )


def test_a_sign_is_part_of_a_number() -> None:
    assert unsupported("It is -200.", ROWS) == ["-200"]
    assert unsupported("It changed by -1034.5.", ROWS) == []


@given(st.lists(st.tuples(st.text(alphabet="abc", min_size=1), st.integers(1, 10**9)), min_size=1, max_size=20))
def test_every_value_of_the_rows_is_supported(rows: list[tuple[str, int]]) -> None:
    text = " ".join(f"{label} {value:,}." for label, value in rows)
    assert unsupported(text, rows) == []


@given(st.text(max_size=200))
def test_no_text_raises(text: str) -> None:
    assert isinstance(unsupported(text, ROWS), list)
