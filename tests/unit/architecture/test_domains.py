"""What import-linter has no contract for: a domain stands on the standard library and on money alone."""

import sys
from pathlib import Path

import pytest

from tests.unit.architecture.imports import imported_modules, imported_packages

ROOT = Path(__file__).parents[3]
MONEY = ROOT / "protos" / "src" / "graphmesh_contracts" / "money.py"
DOMAINS = sorted(ROOT.glob("services/*/graphmesh_*/domain.py"))


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda path: path.parent.name)
def test_domain_imports_the_standard_library_and_money_only(domain: Path) -> None:
    """Rules know neither protobuf, nor databases, nor the chassis."""
    modules = imported_modules(domain.read_text()) - {"graphmesh_contracts.money"}
    assert {module.partition(".")[0] for module in modules} <= sys.stdlib_module_names


def test_money_imports_the_standard_library_only() -> None:
    assert imported_packages(MONEY.read_text()) <= sys.stdlib_module_names
