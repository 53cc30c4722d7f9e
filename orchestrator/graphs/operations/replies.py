"""The replies of the agent: templates by language. No reply about a change is written by a model."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from operations.state import Item

DEFAULT = "en"


def reply(language: str, key: str, **facts: object) -> str:
    """Return a reply in a language, in English where there is none."""
    texts = _texts()
    template = Template(texts.get(language, texts[DEFAULT])[key])
    return template.substitute({name: str(fact) for name, fact in facts.items()})


def differences(items: Sequence[Item], shown: int) -> str:
    """Describe each change of a field as `before → after`."""
    lines = [f"{item['id']}: {', '.join(_differences(item))}" for item in items[:shown]]
    more = [f"… + {len(items) - shown}"] if len(items) > shown else []
    return "\n".join([*lines, *more])


def _differences(item: Item) -> Iterator[str]:
    for name in item["after"]:
        yield f"{name} {_quoted(item['before'], name)} → {_quoted(item['after'], name)}"


def _quoted(values: Mapping[str, str], name: str) -> str:
    return f"“{values[name]}”" if values.get(name) else "–"


@cache
def _texts() -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads((Path(__file__).parent / "prompts" / "replies.v1.toml").read_text(encoding="utf-8"))
