"""The prompts: versioned files. A changed prompt is a new file with the next version."""

from collections.abc import Mapping
from pathlib import Path

VERSIONS: Mapping[str, str] = {"system": "v1"}
SYSTEM = Path(__file__).with_name("prompts").joinpath(f"system.{VERSIONS['system']}.md").read_text(encoding="utf-8")
