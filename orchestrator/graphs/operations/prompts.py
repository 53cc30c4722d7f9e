"""The prompts: versioned files, read once. A changed prompt is a new file with the next version."""

from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent / "prompts"
VERSIONS: Mapping[str, str] = {"request": "v1", "replies": "v2"}
"""The versions in use; each run records them in its state."""
REQUEST = (FOLDER / f"request.{VERSIONS['request']}.md").read_text(encoding="utf-8")
REPLIES = FOLDER / f"replies.{VERSIONS['replies']}.toml"
