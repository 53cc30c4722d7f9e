"""The prompts and replies: versioned files, read once. A changed one is a new file with the next version."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from string import Template

FOLDER = Path(__file__).parent / "prompts"
VERSIONS: Mapping[str, str] = {"query": "v1", "narrative": "v1", "replies": "v2"}
"""The versions in use; each run records them in its state."""
DEFAULT_LANGUAGE = "en"
MAX_FACT_CHARACTERS = 2_000
_MARKUP = re.compile(r"[<>]|//|www\.")


def _file(name: str, suffix: str) -> str:
    return (FOLDER / f"{name}.{VERSIONS[name]}.{suffix}").read_text(encoding="utf-8")


_QUERY, _NARRATIVE = Template(_file("query", "md")), Template(_file("narrative", "md"))
_REPLIES: Mapping[str, Mapping[str, str]] = tomllib.loads(_file("replies", "toml"))


def query(dialect: str, tables: str) -> str:
    """Return the instructions for a query; `tables` describes the schema."""
    return _QUERY.substitute(dialect=dialect, tables=tables)


def narrative(language: str, unit: str) -> str:
    """Return the instructions for a text about rows."""
    return _NARRATIVE.substitute(language=language, unit=unit or "that the rows state, if any")


def reply(language: str, key: str, **facts: object) -> str:
    """Return a reply in a language, in English where there is none."""
    texts = _REPLIES.get(language, _REPLIES[DEFAULT_LANGUAGE])
    template = texts.get(key) or _REPLIES[DEFAULT_LANGUAGE][key]
    return Template(template).substitute({name: _plain(str(fact)) for name, fact in facts.items()})


def _plain(text: str) -> str:
    """Return a text without what makes links and markup: it may be the person's, or the data's."""
    return _MARKUP.sub(" ", text)[:MAX_FACT_CHARACTERS]
