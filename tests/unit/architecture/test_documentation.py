"""The documentation links to files and headings that exist, and names modules and commands that exist."""

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

import pytest
from graphmesh_cli.app import load
from typer import BadParameter

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


COMMAND = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?graphmesh ((?:\"[^\"]*\"|'[^']*'|[^\n\"'])+)$", re.MULTILINE)
"""A command line, over several where a quotation has several."""


def command_lines(page: Path) -> Iterator[str]:
    """The command lines of `graphmesh` in the blocks of a page, without what is piped or cut off."""
    for block in FENCED.findall(page.read_text().replace('\\"', "")):
        for line in COMMAND.findall(block):
            yield re.sub(r"\s+(\||#|>|…).*$", "", line)


COMMAND_LINES = sorted({(line, page.name) for page in PAGES for line in command_lines(page)})


@pytest.mark.parametrize(("line", "page"), COMMAND_LINES, ids=[line for line, _ in COMMAND_LINES])
def test_command_lines_are_accepted(line: str, page: str) -> None:
    """Each names a command, and only options that it has."""
    name, *words = shlex.split(line)
    parse(load(name), words)


def parse(command: Any, words: list[str]) -> None:
    """Parse the words of a command, and of a command of its group. Raises UsageError."""
    if subcommands := getattr(command, "commands", None):
        command, words = subcommands[words[0]], words[1:]
    with suppress(BadParameter):  # of a value that the page leaves to its reader
        command.make_context("graphmesh", words)


def test_the_table_of_commands_names_options_that_they_have() -> None:
    for words, options in re.findall(
        r"^\| `([a-z-]+)[^|]*\|(.*)\|$", (ROOT / "docs/command-line.md").read_text(), re.M
    ):
        command = load(words)
        every = [command, *getattr(command, "commands", {}).values()]
        known = {name for one in every for option in one.params for name in option.opts}
        assert set(re.findall(r"`(--[a-z-]+)", options)) <= known, words
