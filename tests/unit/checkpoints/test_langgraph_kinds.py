"""Each kind of value that LangGraph's serializer writes is stored and read; what it refuses is refused."""

import dataclasses
import ipaddress
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import numpy as np
import ormsgpack
import pytest
from graphmesh_orchestrator.checkpoints.state_serializer import StateSerializer
from graphmesh_orchestrator.checkpoints.stored_objects import UnreadableObject
from langchain_core.documents import Document
from langchain_core.messages import AIMessageChunk, HumanMessage, RemoveMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.store.base import Item, SearchItem
from langgraph.types import Command, Interrupt, Overwrite, Send
from pydantic import BaseModel, ConfigDict, Field, RootModel, SecretBytes, SecretStr, computed_field
from pydantic.dataclasses import dataclass as pydantic_dataclass

T = TypeVar("T")
NOW = datetime(2026, 3, 1, 12, 30, 1, 5, tzinfo=UTC)
ITEM: dict[str, Any] = {
    "namespace": ("a", "b"),
    "key": "k",
    "value": {"text": "x"},
    "created_at": NOW,
    "updated_at": NOW,
}


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


class Pair(NamedTuple):
    left: int
    right: Any


class Outer:
    """A class with classes in it."""

    class Colour(Enum):
        RED = "red"

    class Model(BaseModel):
        number: int

    @dataclasses.dataclass(frozen=True)
    class Data:
        colour: "Outer.Colour"
        inner: Any = None

    class Point(NamedTuple):
        x: int


class Total(BaseModel):
    """One whose written fields are more than it takes."""

    model_config = ConfigDict(extra="forbid")

    number: int

    @computed_field
    def double(self) -> int:
        return 2 * self.number


class Lines(RootModel[list[int]]):
    """One that is a list."""


class Table(RootModel[dict[str, int]]):
    """One that is a mapping."""


class Box(BaseModel, Generic[T]):
    content: T


IntBox = Box[int]


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")


class Hidden(BaseModel):
    """One of whose required fields is not written: LangGraph reads it without that."""

    shown: int
    hidden: int = Field(exclude=True)


@pydantic_dataclass
class Checked:
    number: int = Field(gt=0)


@dataclasses.dataclass
class Late:
    number: int
    later: int = dataclasses.field(init=False, default=0)


class Keyed(BaseModel):
    key: SecretStr
    other: SecretBytes


VALUES: list[Any] = [
    *(None, True, 1, -(2**63), 1.5, "text", b"\xff", bytearray(b"x"), [1, [2]], {"a": {"b": 1}}),
    *({1: "a"}, {1.5: "a"}, {True: 1}, {None: 1}, {(1, "a"): "b"}),
    *({1, 2}, frozenset({1}), {(1, "a"), (2, "b")}, frozenset({(1, (2, 3))}), {frozenset({1})}, deque([1, 2])),
    *(Decimal("1.10"), UUID(int=7), Path("a/b"), re.compile("a+", re.IGNORECASE), ZoneInfo("Europe/Vienna")),
    *map(ipaddress.ip_address, ("10.0.0.1", "::1")),
    *map(ipaddress.ip_network, ("10.0.0.0/8", "fe80::/10")),
    *map(ipaddress.ip_interface, ("10.0.0.1/8", "fe80::1/10")),
    *(NOW, NOW.replace(tzinfo=None), NOW.replace(tzinfo=timezone(timedelta(hours=2))), date(2026, 3, 1)),
    *(time(1, 2, 3, 4, tzinfo=UTC), timedelta(days=-1, microseconds=5), UTC, timezone(timedelta(hours=1), "CET")),
    *(Level.LOW, Word.YES, Outer.Colour.RED, {"in": [Outer.Data(Outer.Colour.RED, Outer.Data(Outer.Colour.RED))]}),
    *(Outer.Model(number=1), Outer.Point(1), Pair(1, Outer.Point(2)), Send("node", Outer.Model(number=1))),
    *(Total(number=2), Lines([1, 2]), Table({"a": 1}), IntBox(content=1), Extra.model_validate({"a": 1})),
    *(Checked(1), Late(1), Keyed(key=SecretStr("a"), other=SecretBytes(b"b"))),
    *(Item(**ITEM), SearchItem(**ITEM, score=0.5), Interrupt("value?", id="1"), Command(goto="a", update={"b": 1})),
    *(Send("node", {"a": [1]}), Overwrite([1]), Document("text", metadata={"at": NOW})),
    *(HumanMessage("hi"), AIMessageChunk(content="hi"), ToolMessage("x", tool_call_id="1", artifact=Item(**ITEM))),
    RemoveMessage(id="1"),
]
SERDE, LANGGRAPH = StateSerializer(), JsonPlusSerializer()


@pytest.mark.parametrize("value", VALUES)
def test_value_is_stored_with_its_type(value: Any) -> None:
    for written in (value, {"in": [value]}):
        LANGGRAPH.dumps_typed(written)
        read = SERDE.loads_typed(SERDE.dumps_typed(written))
        assert (type(read), read) == (type(written), written)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ((1, (2,)), [1, [2]]),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (OrderedDict(a=1), {"a": 1}),
        (Counter("aa"), {"a": 2}),
        (ValueError("x"), "ValueError('x')"),
        ({Word.YES: 1}, {"yes": 1}),
    ],
    ids=repr,
)
def test_what_langgraph_writes_as_another_type_is_that(value: Any, read: Any) -> None:
    of_langgraph = LANGGRAPH.loads_typed(LANGGRAPH.dumps_typed(value))
    found = SERDE.loads_typed(SERDE.dumps_typed(value))
    assert (type(found), found) == (type(of_langgraph), of_langgraph) == (type(read), read)


def test_field_that_is_not_written_is_absent() -> None:
    read = SERDE.loads_typed(SERDE.dumps_typed(Hidden(shown=1, hidden=2)))
    assert (type(read), vars(read)) == (Hidden, {"shown": 1})


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.eye(2)),
        np.arange(6)[::2],
    ],
)
def test_arrays_are_stored(array: Any) -> None:
    read = SERDE.loads_typed(SERDE.dumps_typed({"in": array}))["in"]
    assert read.dtype == array.dtype
    assert np.array_equal(read, array)


def test_snapshot_of_a_delta_channel_is_stored() -> None:
    assert SERDE.loads_typed(SERDE.dumps_typed(_DeltaSnapshot([Late(1)]))).value == [Late(1)]


@attrs.define
class Attrs:
    number: int


class Plain:
    """A class without anything."""


@pytest.mark.parametrize(
    "make",
    [
        Plain,
        lambda: Attrs(1),
        object,
        lambda: len,
        lambda: iter([1]),
        lambda: 2**70,
        lambda: np.array(["2026"], "M8[us]"),
    ],
)
def test_what_langgraph_refuses_is_refused(make: Callable[[], Any]) -> None:
    for serde in (LANGGRAPH, SERDE):
        with pytest.raises(ormsgpack.MsgpackEncodeError):
            serde.dumps_typed({"in": make()})


def test_class_of_a_function_is_named() -> None:
    """It is not found again: LangGraph returns its fields in its place."""

    @dataclasses.dataclass
    class Local:
        number: int

    with pytest.raises(UnreadableObject, match=r"test_langgraph_kinds\.Local cannot be read: the module has no Local"):
        SERDE.loads_typed(SERDE.dumps_typed(Local(1)))
