"""What import-linter has no contract for: a domain stands on the standard library alone."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOMAINS = sorted(ROOT.glob("services/*/graphmesh_*/domain.py"))


def imported(source: str) -> set[str]:
    """The top-level names that a module imports; `.` for a relative import."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." if node.level else (node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda path: path.parent.name)
def test_domain_imports_the_standard_library_only(domain: Path) -> None:
    """Rules know neither protobuf, nor databases, nor the chassis."""
    assert imported(domain.read_text()) <= sys.stdlib_module_names
