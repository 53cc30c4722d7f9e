"""What import-linter has no contract for: a domain stands on the standard library alone."""

import sys
from pathlib import Path

import pytest

from tests.unit.architecture.imports import imported_packages

ROOT = Path(__file__).parents[3]
DOMAINS = sorted(ROOT.glob("services/*/graphmesh_*/domain.py"))


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda path: path.parent.name)
def test_domain_imports_the_standard_library_only(domain: Path) -> None:
    """Rules know neither protobuf, nor databases, nor the chassis."""
    assert imported_packages(domain.read_text()) <= sys.stdlib_module_names
