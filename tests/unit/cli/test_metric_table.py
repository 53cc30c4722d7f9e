"""The table of metrics has every instrument of the product."""

import re
from pathlib import Path

import pytest
from graphmesh_cli.metric_table import MODULES, PAGE, instruments, page

ROOT = Path(__file__).parents[3]
DECLARATION = re.compile(r"^[A-Z_]+ = (counter|histogram|gauge)\(", re.MULTILINE)


def module_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[max(number for number, part in enumerate(parts) if part.startswith("graphmesh_")) :])


def test_every_module_with_instruments_is_listed() -> None:
    roots = [ROOT / name for name in ("services", "orchestrator", "tools")]
    paths = [path for root in roots for path in root.rglob("graphmesh_*/**/*.py")]
    assert {module_of(path) for path in paths if DECLARATION.search(path.read_text())} == set(MODULES)


def test_table_is_fresh() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert page(text) == text
    assert "`langgraph_runs_in_flight`" in text
    assert len(instruments()) > 30


def test_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="has no <!-- metrics -->"):
        page("# Observability")
