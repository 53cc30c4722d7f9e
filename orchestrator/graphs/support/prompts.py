"""The prompts: versioned files, read once. A changed prompt is a new file with the next version."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from string import Template

FOLDER = Path(__file__).parent / "prompts"
VERSIONS: Mapping[str, str] = {"understand": "v1", "draft": "v2", "replies": "v2"}
"""The versions in use; each run records them in its state."""


def _file(name: str) -> str:
    return (FOLDER / f"{name}.{VERSIONS[name]}.md").read_text(encoding="utf-8").strip()


UNDERSTAND = _file("understand")
DRAFT = _file("draft")

REPLIES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    path.stem: tomllib.loads(path.read_text(encoding="utf-8"))
    for path in sorted((FOLDER / f"replies.{VERSIONS['replies']}").glob("*.toml"))
}
"""The agent's own words, by language, table and name."""


def draft(language: str, account: str, faults: str) -> str:
    """Return the instructions for an answer; `faults` is what was wrong with the draft before, or empty."""
    return Template(DRAFT).substitute(language=language, account=account, faults=faults).strip()
