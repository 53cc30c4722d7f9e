"""The analysis of errors follows calls as the code makes them."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.contract.contracts.error_analysis.analysis import Analysis

NAME = "graphmesh_sample"
SOURCE = """
import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from graphmesh_chassis.errors import (
    AlreadyExists, CallerError, Fenced, GraphmeshError, NotFound, RuleViolated, VersionMismatch,
)

PortT = TypeVar("PortT")

class Port(Protocol):
    async def fetch_sample(self) -> str: ...

class MemoryPort:
    async def fetch_sample(self) -> str:
        raise NotFound()

class SqlPort:
    async def fetch_sample(self) -> str:
        raise VersionMismatch()

class Store(Generic[PortT]):
    def __init__(self, port: PortT) -> None:
        self.port = port

    @asynccontextmanager
    async def open(self) -> AsyncIterator[PortT]:
        yield self.port

@dataclass
class Entry:
    port: Port

    @property
    def checked(self) -> str:
        raise RuleViolated()

class Base:
    def work(self) -> None:
        raise AlreadyExists()

class Derived(Base):
    def work(self) -> None:
        super().work()
        raise Fenced()

class Servicer:
    def __init__(self, store: Store[Port], entries: Mapping[str, Entry], base: Base) -> None:
        self._store, self._entries, self._base = store, entries, base

    async def through_a_generic(self) -> None:
        async with self._store.open() as port:
            await port.fetch_sample()

    async def through_a_map(self) -> None:
        if (entry := self._entries.get("a")) is not None:
            await entry.port.fetch_sample()

    def through_a_property(self) -> list[str]:
        return [entry.checked for entry in self._entries.values()]

    def through_a_subclass(self) -> None:
        self._base.work()

    async def through_a_thread(self) -> None:
        await asyncio.to_thread(self._base.work)

    async def through_a_lambda(self, entries: Sequence[Entry]) -> None:
        await first(entries, lambda entry: entry.port.fetch_sample())

    async def caught(self) -> None:
        try:
            await self._entries["a"].port.fetch_sample()
        except NotFound as error:
            raise RuleViolated() from error

    async def raised_again(self) -> None:
        try:
            await self._entries["a"].port.fetch_sample()
        except CallerError:
            raise

    def suppressed(self) -> None:
        with suppress(AlreadyExists):
            self._base.work()

    def never_caught(self) -> None:
        try:
            self.through_a_property()
        except Fenced as error:
            raise NotFound() from error

    def in_a_task(self) -> None:
        asyncio.create_task(self.through_a_generic())

    def recursive(self, depth: int) -> None:
        self.helper(depth)

    def helper(self, depth: int) -> None:
        if depth:
            self.recursive(depth - 1)
        raise NotFound()

async def first(entries: Sequence[Entry], ask: Callable[[Entry], object]) -> None:
    ask(entries[0])
"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("packages")
    Path(folder, NAME).mkdir()
    Path(folder, NAME, "__init__.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module(NAME)
    finally:
        sys.path.remove(str(folder))
        del sys.modules[NAME]


PORT = {"RESOURCE_NOT_FOUND", "VERSION_MISMATCH"}
BASE = {"RESOURCE_EXISTS", "FENCED"}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("through_a_generic", PORT),
        ("through_a_map", PORT),
        ("through_a_property", {"RULE_VIOLATED"}),
        ("through_a_subclass", BASE),
        ("through_a_thread", BASE),
        ("through_a_lambda", PORT),
        ("caught", {"VERSION_MISMATCH", "RULE_VIOLATED"}),
        ("raised_again", PORT),
        ("suppressed", {"FENCED"}),
        ("never_caught", {"RULE_VIOLATED"}),
        ("in_a_task", set()),
        ("recursive", {"RESOURCE_NOT_FOUND"}),
    ],
)
def test_errors_are_found_where_the_code_raises_them(sample: ModuleType, method: str, expected: set[str]) -> None:
    analysis = Analysis([NAME])
    assert analysis.reasons(getattr(sample.Servicer, method), sample.Servicer) == expected


def test_an_opaque_module_is_not_followed(sample: ModuleType) -> None:
    analysis = Analysis([NAME], opaque={NAME})
    assert analysis.reasons(sample.Servicer.recursive, sample.Servicer) == set()
