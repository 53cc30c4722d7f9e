"""docs/guardrails.md lists the modules of the library, and its examples run."""

import re
from pathlib import Path
from typing import Any

import pytest
from graphmesh_nodes import guardrails

PAGE = (Path(__file__).parents[4] / "docs/guardrails.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
INTERNAL = {"__init__", "lexicon", "links", "words"}


def test_lists_the_modules() -> None:
    modules = {path.stem for path in Path(guardrails.__path__[0]).glob("*.py")} - INTERNAL
    assert modules <= set(re.findall(r"`(\w+)`", PAGE))


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_examples_run(snippet: str) -> None:
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(snippet, "docs/guardrails.md", "exec"), namespace)
