"""The documentation links to files and headings that exist, and names modules that exist."""

import re
from pathlib import Path, PurePath

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/sample/*.md")])
CODE = ("protos", "services", "orchestrator", "tools", "tests")
MODULES = [f"/{path.relative_to(ROOT)}" for folder in CODE for path in (ROOT / folder).rglob("*.py")]
TUTORIAL = re.compile(r"order(s\w*|ing)\.py|helper/agent\.py")
"""Modules that the readers of CONTRIBUTING.md and docs/agents.md write."""
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
MODULE = re.compile(r"`([\w/]+\.py)`")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of the headings of `page`."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    for path, anchor in LINK.findall(prose(page)):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_modules_exist(page: Path) -> None:
    """A module is named by its path, or by the end of it."""
    named = {name for name in MODULE.findall(prose(page)) if not _is_tutorials(name)}
    assert {name for name in named if not any(module.endswith(f"/{name}") for module in MODULES)} == set()


def _is_tutorials(name: str) -> bool:
    return bool(TUTORIAL.fullmatch(name) or TUTORIAL.fullmatch(PurePath(name).name))


def test_readme_fits_on_a_few_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 130
