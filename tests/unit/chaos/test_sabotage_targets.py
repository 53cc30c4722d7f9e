"""The patches of the sabotage suite replace existing names, so that a rename cannot disarm one."""

from importlib import import_module
from importlib.util import find_spec

import pytest

from tests.chaos.sabotage.patches import owner_of
from tests.chaos.sabotage.settings import FOLDER

NAMES = sorted(path.parent.name for path in FOLDER.glob("*/sitecustomize.py"))
PATCHES = [
    (name, target) for name in NAMES for target in import_module(f"tests.chaos.sabotage.{name}.sitecustomize").PATCHES
]


def test_every_sabotage_has_patches() -> None:
    assert NAMES
    assert {name for name, _ in PATCHES} == set(NAMES)


@pytest.mark.parametrize(("name", "target"), PATCHES)
def test_patched_name_exists(name: str, target: str) -> None:
    owner, attribute = owner_of(target)
    existing = getattr(owner, attribute)
    assert callable(existing) or isinstance(existing, property)


@pytest.mark.parametrize("name", NAMES)
def test_sabotaged_package_exists(name: str) -> None:
    """A sabotage applies to the process of one package, by its name on the command line."""
    assert find_spec(import_module(f"tests.chaos.sabotage.{name}.sitecustomize").PACKAGE)
