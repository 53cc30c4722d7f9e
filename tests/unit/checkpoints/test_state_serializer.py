"""Stored objects are read as what they were, or the class that cannot be read is named."""

import dataclasses
import json
import re
import sys
from collections import deque
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, StrEnum
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pytest
from graphmesh_orchestrator.checkpoints.state_serializer import StateSerializer
from graphmesh_orchestrator.checkpoints.stored_objects import UnreadableObject
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Command, Overwrite, Send
from pydantic import BaseModel, Field, SecretStr, model_validator

HERE = sys.modules[__name__]


class Colour(Enum):
    RED = "red"
    PAIR = (1, (2, 3))


class Right(Flag):
    READ = 1
    WRITE = 2


class Mood(StrEnum):
    GOOD = "good"


class Point(NamedTuple):
    x: int
    colour: Colour


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    number: int
    inner: "Item | None" = None


@dataclasses.dataclass
class Counted:
    number: int
    twice: int = dataclasses.field(init=False, default=0)


class Aliased(BaseModel):
    order_id: int = Field(alias="orderId")
    inner: "Aliased | None" = Field(default=None, alias="innerOrder")


class Secret(BaseModel):
    key: SecretStr


class Doubled(BaseModel):
    """Its validators refuse what it has become."""

    number: int = Field(le=10)

    @model_validator(mode="after")
    def _double(self) -> "Doubled":
        self.number *= 4
        return self


NAIVE = datetime.fromisoformat("2026-03-01")
SERDE, LANGGRAPH = StateSerializer(), JsonPlusSerializer()
VALUES = [
    *(Colour.RED, Colour.PAIR, Right.READ | Right.WRITE, Mood.GOOD, Point(1, Colour.RED)),
    *(Item(1, Item(2)), Counted(3), Aliased(orderId=1, innerOrder=Aliased(orderId=2)), Secret(key=SecretStr("k"))),
    *(NAIVE, datetime(2026, 3, 1, tzinfo=UTC), date(2026, 3, 1), time(1, 2, tzinfo=UTC)),
    *(timedelta(days=1, microseconds=3), UTC, Decimal("1.10"), UUID(int=1), re.compile("a", re.IGNORECASE)),
    *(Path("a/b"), {1, 2}, frozenset({1}), deque([1]), b"x", None, [1, "a"], {"a": 1.5}),
    *(HumanMessage("hi"), AIMessage("x", tool_calls=[{"name": "a", "args": {}, "id": "1"}]), Document("text")),
    *(Send("node", {"item": Item(1)}), Command(goto="node"), Overwrite([1])),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_objects_keep_their_types(value: Any) -> None:
    for written in (value, {"in": [value]}):
        read = SERDE.loads_typed(LANGGRAPH.dumps_typed(written))
        assert (type(read), read) == (type(written), written)


def test_fields_that_are_set_later_are_kept() -> None:
    counted = Counted(3)
    counted.twice = 6
    assert SERDE.loads_typed(LANGGRAPH.dumps_typed(counted)) == counted


def test_model_that_its_own_validators_refuse_is_read_as_it_was() -> None:
    model = Doubled(number=9)
    read = SERDE.loads_typed(LANGGRAPH.dumps_typed(model))
    assert (type(read), read.number) == (Doubled, 36)


@pytest.mark.parametrize("value", [Item(1), Colour.RED, Aliased(orderId=1), Point(1, Colour.RED)], ids=repr)
def test_class_that_no_longer_exists_is_named(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However deep it is: ormsgpack itself drops errors of nested objects."""
    stored = LANGGRAPH.dumps_typed({"in": [Item(1, value)]})
    name = type(value).__name__
    monkeypatch.delattr(HERE, name)
    with pytest.raises(UnreadableObject, match=rf"{__name__}\.\w+ cannot be read: the module has no \w+ at its"):
        SERDE.loads_typed(stored)


def test_module_that_no_longer_exists_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Item, "__module__", "shop.models")
    stored = LANGGRAPH.dumps_typed(Item(1))
    with pytest.raises(UnreadableObject, match=r"the class shop\.models\.Item cannot be read: there is no module shop"):
        SERDE.loads_typed(stored)


@pytest.mark.parametrize(
    "changed",
    [
        Enum("Colour", {"BLUE": "blue"}),
        dataclasses.make_dataclass("Item", ["size"]),
        type("Secret", (BaseModel,), {"__annotations__": {"token": str}}),
    ],
)
def test_class_that_has_changed_is_named(changed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"Colour": Colour.RED, "Item": Item(1), "Secret": Secret(key=SecretStr("k"))}
    stored = LANGGRAPH.dumps_typed(values[changed.__name__])
    monkeypatch.setattr(HERE, changed.__name__, changed)
    with pytest.raises(UnreadableObject, match=rf"{changed.__name__} refuses its stored fields"):
        SERDE.loads_typed(stored)


def lc2(*names: str, **keys: Any) -> dict[str, Any]:
    return {"lc": 2, "type": "constructor", "id": list(names), **keys}


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        (lc2("datetime", "datetime", method="fromisoformat", args=["2026-03-01"]), NAIVE),
        (lc2("uuid", "UUID", args=["00000000-0000-0000-0000-000000000001"]), UUID(int=1)),
        (lc2("builtins", "set", args=[[1, 2]]), {1, 2}),
        (
            {
                "lc": 1,
                "type": "constructor",
                "id": ["langchain", "schema", "messages", "HumanMessage"],
                "kwargs": {"content": "hi"},
            },
            HumanMessage("hi"),
        ),
    ],
)
def test_older_json_is_read(stored: dict[str, Any], value: Any) -> None:
    assert SERDE.loads_typed(("json", json.dumps({"in": [stored]}).encode())) == {"in": [value]}


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (lc2("shop", "Order", kwargs={}), r"the class shop\.Order cannot be read"),
        (lc2(*__name__.split("."), "Colour", args=["red"]), r"Colour cannot be read: in JSON only"),
        (lc2("os", "system", args=["exit 1"]), r"the class os\.system cannot be read: in JSON only"),
        (lc2("subprocess", "Popen", args=["exit"], method="mro"), r"subprocess\.Popen cannot be read: in JSON only"),
        ({"lc": 1, "type": "not_implemented", "id": ["shop", "Order"]}, r"the class shop\.Order cannot be read"),
    ],
)
def test_older_json_that_cannot_be_read_is_named(stored: dict[str, Any], message: str) -> None:
    with pytest.raises(UnreadableObject, match=message):
        SERDE.loads_typed(("json", json.dumps([stored]).encode()))


@pytest.mark.parametrize("kind", ["pickle", "msgpack+aes"])
def test_other_kinds_are_refused(kind: str) -> None:
    with pytest.raises(UnreadableObject, match=re.escape(f"it is stored as {kind}, and only MessagePack and JSON")):
        SERDE.loads_typed((kind, b"x"))


def test_strict_setting_of_langgraph_is_honoured() -> None:
    strict = StateSerializer(allowed_msgpack_modules=None)
    assert strict.loads_typed(LANGGRAPH.dumps_typed(HumanMessage("hi"))) == HumanMessage("hi")
    with pytest.raises(UnreadableObject, match=r"Item is not allowed by LANGGRAPH_STRICT_MSGPACK"):
        strict.loads_typed(LANGGRAPH.dumps_typed(Item(1)))


@pytest.mark.parametrize(
    ("scalar", "number"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.datetime64("2026-03-01T10:00:00.000000000"), datetime.fromisoformat("2026-03-01T10:00:00")),
    ],
)
def test_scalars_of_numpy_are_numbers_also_in_objects(scalar: Any, number: Any) -> None:
    serde = StateSerializer()
    stored = serde.dumps_typed({"documents": [Document("text", metadata={"score": scalar})], "best": scalar})
    read = serde.loads_typed(stored)
    assert (read["best"], type(read["best"])) == (number, type(number))
    assert read["documents"][0].metadata == {"score": number}
