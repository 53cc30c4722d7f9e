"""docs/graphmesh_nodes.md lists the whole surface of the package, and its examples run."""

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import graphmesh_nodes
import pytest
from graphmesh_nodes import RunContext, errors, testing
from graphmesh_nodes.testing import GraphHarness, RecordedCall, RunResult

PAGE = (Path(__file__).parents[3] / "docs/graphmesh_nodes.md").read_text()
PROSE = re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
NAMES = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", PROSE))))
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# [\w/]+/(\w+)\.py\n")
FILES = {match[1]: block for block in BLOCKS if (match := FILE.match(block))}
SNIPPETS = [block for block in BLOCKS if not FILE.match(block)]


@pytest.mark.parametrize("module", [graphmesh_nodes, errors, testing], ids=lambda module: module.__name__)
def test_lists_the_surface(module: Any) -> None:
    assert set(module.__all__) <= NAMES


@pytest.mark.parametrize("listed", [RunContext, RunResult, RecordedCall], ids=lambda listed: listed.__name__)
def test_lists_fields(listed: Any) -> None:
    properties = {name for name, value in vars(listed).items() if isinstance(value, property)}
    assert {field.name for field in fields(listed)} | properties <= NAMES | {"values"}


def test_lists_the_methods_of_the_harness() -> None:
    public = {name for name in vars(GraphHarness) if not name.startswith("_")}
    arguments = set(inspect.signature(GraphHarness).parameters)
    assert public | arguments <= NAMES


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The modules whose source the page has."""
    for name, source in FILES.items():
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield {name: importlib.import_module(name) for name in FILES}
    for name in FILES:
        del sys.modules[name]


async def test_example_passes_its_own_test(modules: dict[str, Any]) -> None:
    module = modules["test_receipts"]
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert len(tests) == 6
    for test in tests:
        await test(module.harness.__wrapped__())


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
async def test_snippets_run(snippet: str) -> None:
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(snippet, "docs/graphmesh_nodes.md", "exec"), namespace)
    for name, value in list(namespace.items()):
        if name.startswith("test_"):
            await value()
