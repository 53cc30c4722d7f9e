"""Checks a text before a person sees it: what it may not carry out of the system, whoever has written it.

found = leaks(answer, hosts=policy.link_hosts, instructions=phrases_of(SYSTEM_PROMPT), own_ids=..., id_prefixes=...)
"""

import re
from collections.abc import Collection, Iterable, Iterator
from functools import cache

from graphmesh_chassis.redaction import CREDENTIALS, Kind, Redactor

from graphmesh_nodes.guardrails.links import leads_elsewhere
from graphmesh_nodes.guardrails.words import SEPARATORS, is_invisible, words

LEAKED_WORDS = 8
"""Words of the instructions in a row that no answer has."""
MAX_BLOB_CHARACTERS = 64
"""A longer word is encoded data, which no person reads."""
_MARKUP = re.compile(r"<[a-z/!?]|!\[|\]\(", re.I)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_CREDENTIALS = Redactor(CREDENTIALS)


def leaks(
    text: str,
    *,
    hosts: Collection[str] = (),
    instructions: frozenset[tuple[str, ...]] = frozenset(),
    own_ids: Collection[str] | None = None,
    id_prefixes: Collection[str] = (),
) -> list[str]:
    """Return the rules that a text breaks: `link`, `markup`, `instructions`, `credential`, `foreign_id`, `hidden`.

    Args:
        hosts: the hosts that links and images may name, with their subdomains.
        instructions: the `phrases_of` the agent's prompts.
        own_ids: the ids of the customer's own records; None: ids are not checked.
        id_prefixes: how ids of records begin, such as `INV-`.
    """
    found = {
        "link": leads_elsewhere(text, hosts),
        "markup": bool(_MARKUP.search(text)),
        "instructions": not instructions.isdisjoint(_runs(text)),
        "credential": _CREDENTIALS.redact(text) != text,
        "foreign_id": own_ids is not None and any(one not in own_ids for one in _ids(text, id_prefixes)),
        "hidden": any(is_invisible(char) and char not in "\u200d\ufe0f" for char in text) or _has_blob(text),
    }
    return [rule for rule, is_broken in found.items() if is_broken]


def phrases_of(*prompts: str) -> frozenset[tuple[str, ...]]:
    """Return the runs of words by which a quotation of prompts is recognized."""
    return frozenset(run for prompt in prompts for run in _runs(prompt))


def redacted(text: str, kinds: Iterable[str]) -> str:
    """Return a text with placeholders for data of some kinds: `card`, `iban`, `secret`, `email`, `phone`."""
    return _redactor(frozenset(map(Kind, kinds))).redact(text)


@cache
def _redactor(kinds: frozenset[Kind]) -> Redactor:
    return Redactor(kinds)


def without_credentials(text: str) -> str:
    """Return a text with placeholders for card numbers, IBANs, passwords, tokens and keys, which no state needs."""
    return _CREDENTIALS.redact(text)


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    said = [word for word in words(text) if word not in SEPARATORS]
    return (tuple(said[at : at + LEAKED_WORDS]) for at in range(len(said) - LEAKED_WORDS + 1))


def _ids(text: str, prefixes: Collection[str]) -> Iterator[str]:
    for match in _ID.findall(text):
        word = match.rstrip("._-")
        if any(word.startswith(prefix) and len(word) > len(prefix) for prefix in prefixes):
            yield word


def _has_blob(text: str) -> bool:
    return any(len(word) > MAX_BLOB_CHARACTERS and "/" not in word for word in text.split())
