"""The replies of the agent: templates by language. No reply about a change is written by a model."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from string import Template
from typing import Any

from graphmesh_nodes.guardrails.untrusted import readable

from operations.prompts import REPLIES
from operations.state import Item

DEFAULT = "en"
_QUOTES = str.maketrans({"“": "'", "”": "'", "→": ">"})


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
    """Quote a value on one line: none can end its quotation, or seem to be another difference."""
    value = " ".join(readable(values.get(name, "")).split()).translate(_QUOTES)
    return f"“{value}”" if value else "–"


@cache
def _texts() -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads(REPLIES.read_text(encoding="utf-8"))
