"""Every value has a JSON form that can be stored and shown, or is refused with the path to it and the rule."""

import itertools
import math
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from graphmesh_chassis.large_values import MAX_ELEMENTS
from graphmesh_contracts import struct_value, to_struct
from graphmesh_nodes.errors import ValueNotStorable
from graphmesh_nodes.json_values import MAX_BYTES, MAX_LEVELS, showable, to_json
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langgraph.types import Send
from pydantic import BaseModel, Field, SecretStr


class Colour(Enum):
    RED = "red"


class Size(IntEnum):
    SMALL = 1


class Mood(StrEnum):
    GOOD = "good"


@dataclass
class Item:
    at: datetime
    data: bytes


class Picture(BaseModel):
    data: bytes
    colour: Colour = Colour.RED


class Point(NamedTuple):
    x: int
    y: float


class Hidden(BaseModel):
    """It has bytes that its own JSON form cannot show."""

    data: bytes
    secret: SecretStr
    hidden: str = Field(default="of no client", exclude=True)


class Number(float):
    def __repr__(self) -> str:
        return "not a number"

    __str__ = __repr__

    def __float__(self) -> float:
        raise RuntimeError("no float")


class Exiting:
    """A value whose text ends the process."""

    def __str__(self) -> str:
        raise SystemExit(3)


class Unprintable:
    """A value of which pytest can make no name of a test."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


AT = datetime(2026, 3, 1, tzinfo=UTC)


def nested(levels: int, value: Any = "x") -> Any:
    for _ in range(levels):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (AT, "2026-03-01T00:00:00Z"),
        (date(2026, 3, 1), "2026-03-01"),
        (timedelta(seconds=90), "PT1M30S"),
        (Decimal("1.10"), "1.10"),
        (Colour.RED, "red"),
        (Size.SMALL, 1),
        (Mood.GOOD, "good"),
        ({Colour.RED: 1, 2: "two"}, {"red": 1, "2": "two"}),
        (b"\xff\x00", "/wA="),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (PurePosixPath("a/b"), "a/b"),
        ({3}, [3]),
        (Point(1, 2.5), [1, 2.5]),
        (Item(AT, b"\xff"), {"at": "2026-03-01T00:00:00Z", "data": "/w=="}),
        (Picture(data=b"\xff"), {"data": "/w==", "colour": "red"}),
        (10**300, str(10**300)),
        (range(2), [0, 1]),
        ({"a": 1}.keys(), ["a"]),
        (memoryview(b"a-b-")[::2], "YWI="),
        (memoryview(b"abcd").cast("I"), "YWJjZA=="),
        (ValueError("x"), "ValueError('x')"),
        (Hidden(data=b"\xff", secret=SecretStr("s")), {"data": "/w==", "secret": "**********"}),
    ],
)
def test_values_have_a_json_form(value: Any, json: Any) -> None:
    assert to_json(value) == json
    assert to_json({"in": [value]}) == {"in": [json]}


def test_numbers_that_no_double_holds_are_texts() -> None:
    """As in ProtoJSON; 2^53 and all below it are numbers."""
    assert to_json([2**53, -(2**53), 2**53 + 1, -(10**400), 1e300]) == [
        2**53,
        -(2**53),
        "9007199254740993",
        f"-1{'0' * 400}",
        1e300,
    ]
    assert to_json([math.nan, math.inf, -math.inf]) == ["NaN", "Infinity", "-Infinity"]


class Table:
    """A table as pandas has it."""

    def iterrows(self) -> None: ...

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        assert orient == "records"
        return [{"a": 1}]


def test_objects_of_other_libraries_have_their_content() -> None:
    class Attrs:
        __attrs_attrs__ = (SimpleNamespace(name="x"),)
        x = 1

    assert to_json([Table(), Attrs(), Send("node", {"x": 1}), Send]) == [
        [{"a": 1}],
        {"x": 1},
        {"node": "node", "arg": {"x": 1}},
        "<class 'langgraph.types.Send'>",
    ]


def test_messages_have_their_fields() -> None:
    assert to_json([HumanMessage("hi")])[0]["content"] == "hi"


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("a\ud800", "lone surrogate"),
        ("a\0", "NUL"),
        ({"\ud800": 1}, "lone surrogate"),
        (nested(MAX_LEVELS), "nested deeper"),
    ],
)
def test_values_without_a_storable_form_are_refused_with_their_path(value: Any, rule: str) -> None:
    with pytest.raises(ValueNotStorable, match=rule) as refused:
        to_json({"items": [{"price": value}]})

    assert str(refused.value.data["key"]).startswith("items[0].price")
    shown, why = showable({"items": [{"price": value}]})
    assert shown is None
    assert rule in why


def test_an_integer_with_too_many_digits_is_refused() -> None:
    """Python makes no text of it."""
    with pytest.raises(ValueNotStorable, match="text cannot be made"):
        to_json({"items": [10**5000]})


def test_an_object_without_a_text_is_refused() -> None:
    with pytest.raises(ValueNotStorable, match="text cannot be made"):
        to_json({"at": Unprintable()})


def test_an_object_that_exits_is_refused() -> None:
    for value in (Exiting(), {Exiting(): 1}):
        assert showable({"at": value})[1].endswith("is a Exiting, whose text cannot be made")


def test_a_number_of_a_class_of_its_own_is_a_number() -> None:
    assert [type(number) for number in to_json([Number(1.5), Size.SMALL])] == [float, int]


@pytest.mark.parametrize("value", [{1: "a", "1": "b"}, {True: 1, "True": 2}, {Colour.RED: 1, "red": 2}], ids=str)
def test_names_that_are_equal_as_texts_are_refused(value: Any) -> None:
    """One of the members would be missing."""
    with pytest.raises(ValueNotStorable, match=r"items\.\w+ is the name of two members"):
        to_json({"items": value})


def test_an_object_that_contains_itself_is_refused() -> None:
    value: dict[str, Any] = {}
    value["self"] = value

    with pytest.raises(ValueNotStorable, match="nested deeper"):
        to_json(value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=30,
)


@given(st.dictionaries(st.text(max_size=3, alphabet="abc"), JSON, max_size=5))
def test_json_is_equal_after_a_round_trip_through_a_struct(value: dict[str, Any]) -> None:
    assert struct_value(to_struct(value)) == value


def test_deepest_value_can_be_shown() -> None:
    value = to_json(nested(MAX_LEVELS))

    assert struct_value(to_struct({"value": value})) == {"value": value}


def doubling(levels: int) -> Any:
    """A list that has the same list twice, and so on: a few objects with 2 to the power of `levels` elements."""
    value: Any = 1
    for _ in range(levels):
        value = [value, value]
    return value


def in_itself() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


class Endless(Mapping[str, int]):
    """A mapping without an end."""

    def __getitem__(self, key: str) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        return map(str, itertools.count())

    def __len__(self) -> int:
        return 1


class Broken(BaseModel):
    text: str = "x"

    def model_dump(self, **options: Any) -> Any:
        raise RuntimeError("no fields")


class Numbers(BaseModel):
    numbers: list[int]


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ([None] * (MAX_ELEMENTS + 1), "more than 100000 members and elements"),
        ({str(number): 1 for number in range(MAX_ELEMENTS + 1)}, "more than 100000 members and elements"),
        (Numbers(numbers=[1] * (MAX_ELEMENTS + 1)), "more than 100000 members and elements"),
        (itertools.count(), "more than 100000 members and elements"),
        (Endless(), "more than 100000 members and elements"),
        (doubling(25), "more than 100000 members and elements"),
        (in_itself(), "nested deeper"),
        ("x" * (MAX_BYTES + 1), "more than 8388608 bytes"),
        (["x" * MAX_BYTES, "x"], "more than 8388608 bytes"),
        (b"x" * (MAX_BYTES + 1), "more than 8388608 bytes"),
        ({"x" * (MAX_BYTES + 1): 1}, "more than 8388608 bytes"),
        (Broken(), "is a Broken, of which no JSON can be made"),
    ],
    ids=[
        "list",
        "object",
        "model",
        "iterator",
        "mapping",
        "doubling",
        "cycle",
        "text",
        "texts",
        "bytes",
        "name",
        "model that fails",
    ],
)
def test_values_beyond_the_bounds_are_refused_at_once(value: Any, rule: str) -> None:
    with pytest.raises(ValueNotStorable, match=rule) as refused:
        to_json({"in": value})

    assert refused.value.data["key"].startswith("in")
