"""Understands a request: by a model, or by a word list where the model is the offline composer.

A model's answer is a proposal of another program. It is used only as far as the request itself has the ids and the
values, and not where the request negates, supposes or reports a change.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from graphmesh_nodes.guardrails.languages import language_of
from graphmesh_nodes.guardrails.lexicon import Lexicon
from graphmesh_nodes.guardrails.untrusted import readable
from graphmesh_nodes.guardrails.words import words

from operations.policy import OperationsPolicy
from operations.state import Change, Record
from operations.values import ENUMS, normalized

MAX_CHARACTERS = 2_000
"""A longer message is no request for a change."""
SELECTING = ("customer_id", "queue", "priority", "email")
"""The filters of which a model has to use one."""
MAX_LEADS = 5
"""Words that may lead to a value, of which the first behind the name of the field does."""
RECORDS: tuple[Record, ...] = ("customer", "ticket")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_JOINING = frozenset("._-+@/")
"""Characters that join parts to one id, address or number."""
_EDGES = " \t\"'“”«»„:;,"


@dataclass(frozen=True)
class Understood:
    """What a message requests."""

    change: Change | None = None
    undo: bool = False
    language: str = ""
    """The language of its verb; empty where that is unknown."""


@dataclass(frozen=True)
class _Words:
    """The word list of one language."""

    verbs: Lexicon[str]
    """`change`, `move` or `assign`."""
    fields: Lexicon[str]
    records: Lexicon[Record]
    others: Lexicon[str]
    """`not`, `all` or `open`."""
    to: tuple[str, ...]
    undo: frozenset[tuple[str, ...]]


def understand(message: str, policy: OperationsPolicy) -> Understood:
    """Understand a message by the word lists. Without a change, it was not understood."""
    text = words(message[: MAX_CHARACTERS + 1])
    plain = tuple(word for word in text if word not in ".,?")
    for language, listed in word_lists().items():
        if plain in listed.undo:
            return Understood(undo=True, language=language)
    language = language_by_verbs(text)
    if len(message) > MAX_CHARACTERS or "?" in text or not language or is_no_request(message[:MAX_CHARACTERS]):
        return Understood(language=language)
    return Understood(change=_change(message, word_lists()[language], policy), language=language)


def is_no_request(message: str) -> bool:
    """Return whether a message negates, supposes or reports a change: in the language of its verb and in its own, or
    where neither is known in any."""
    text, lists = words(message), word_lists()
    known = {language_by_verbs(text), language_of(message)} & lists.keys()
    return any("not" in _values(lists[language].others, text) for language in known or lists)


def language_by_verbs(text: Sequence[str]) -> str:
    """Return the language whose word list has a verb and most other words of a text; empty where none has a verb."""
    scores = {
        language: len(_values(one.fields, text)) + len(_values(one.records, text)) + len(_values(one.others, text))
        for language, one in word_lists().items()
        if _values(one.verbs, text)
    }
    return max(scores, key=lambda language: scores[language], default="")


def supported(change: Change, message: str) -> bool:
    """Return whether a message has the ids, the filters and the values of a change that a model has made of it.

    The names of enums may be translated. Filters have to name a customer, a queue, a priority or an email address.
    """
    where = change.get("where", {})
    selects = any(name in SELECTING for name in where) and all(name in (*SELECTING, "status") for name in where)
    if not change["set"] or not (selects if where else change.get("ids")):
        return False
    plain = [value for field, value in change["set"].items() if f"{change['record']}.{field}" not in ENUMS]
    filters = [value for name, value in where.items() if name != "status"]
    text = _comparable(message)
    return all(_is_whole_in(text, _comparable(name)) for name in (*change.get("ids", ()), *filters, *plain))


def _comparable(text: str) -> str:
    return " ".join(readable(text).casefold().split())


def _is_whole_in(text: str, name: str) -> bool:
    """Return whether a text has a name, and not only as a part of a longer id, address or number."""
    at = text.find(name) if name else -1
    while at >= 0:
        if _is_whole(text, at, at + len(name)):
            return True
        at = text.find(name, at + len(name))
    return False


def _is_whole(text: str, begin: int, end: int) -> bool:
    before, after = text[max(0, begin - 2) : begin], text[end : end + 2]
    if before[-1:].isalnum() or before[-1:] in _JOINING or after[:1].isalnum() or after[:1] in _JOINING - {"."}:
        return False
    if after[:1] == "." and after[1:].isalnum():
        return False
    is_cut_number = (text[begin].isdigit() and before[:1].isdigit() and before[1:] == " ") or (
        text[end - 1].isdigit() and after[:1] == " " and after[1:].isdigit()
    )
    return not is_cut_number


def _change(message: str, listed: _Words, policy: OperationsPolicy) -> Change | None:
    """Return the change of the one sentence that requests it, if that names every record of the message."""
    found = [
        (sentence, verbs)
        for sentence in _SENTENCE.split(message.strip())
        if (verbs := _values(listed.verbs, words(sentence)))
    ]
    if len(found) != 1 or len(set(found[0][1])) != 1:
        return None
    sentence, [verb, *_] = found[0]
    ids = {record: _ids(record, sentence, listed, policy) for record in RECORDS}
    if any(set(_ids(record, message, listed, policy)) - set(ids[record]) for record in RECORDS):
        return None
    named = max((sentence.rfind(one) + len(one) for one in (*ids["customer"], *ids["ticket"])), default=0)
    for before, value in _parts(sentence, named, listed):
        if value and (field := _field(verb, before, listed)):
            return _change_of(sentence, ids, field, value, listed)
    return None


def _change_of(
    sentence: str, ids: Mapping[Record, Sequence[str]], field: str, value: str, listed: _Words
) -> Change | None:
    record: Record = "customer" if field.startswith("customer.") else "ticket"
    name = field.partition(".")[2]
    other: Record = "ticket" if record == "customer" else "customer"
    wanted = {name: normalized(record, name, value)}
    marks = _values(listed.others, words(sentence))
    if any(_has_id(value, one) for one in (*ids["customer"], *ids["ticket"])):
        return None
    if ids[record] and not ids[other] and "all" not in marks:
        return {"record": record, "ids": list(ids[record]), "set": wanted}
    if record == "ticket" and "all" in marks and len(ids["customer"]) == 1 and not ids["ticket"]:
        status = {"status": "open"} if "open" in marks else {}
        return {"record": record, "where": {"customer_id": ids["customer"][0], **status}, "set": wanted}
    return None


def _has_id(value: str, record_id: str) -> bool:
    """Return whether a value has an id: then what stands behind it is no value alone."""
    return record_id in _ID.findall(value)


def _field(verb: str, sentence: str, listed: _Words) -> str:
    """Return the only field that a sentence names; that of the verb where it names none."""
    named = set(_longest(listed.fields, words(sentence)))
    implied = {"move": "ticket.queue", "assign": "ticket.assignee"}.get(verb, "")
    if implied:
        return implied if named <= {implied} else ""
    return named.pop() if len(named) == 1 else ""


def _parts(sentence: str, named: int, listed: _Words) -> Iterator[tuple[str, str]]:
    """Yield what stands before a word that leads to a value, and the value, which may name the field again. Words
    before `named`, the end of the last id, lead to none; of the others the first ones may."""
    for begin, end in _leads(listed.to, _folded(sentence), named)[:MAX_LEADS]:
        value = sentence[end:].rstrip(".!").strip(_EDGES)
        first, _, rest = value.partition(" ")
        has_field = rest and set(_longest(listed.fields, words(first)))
        yield sentence[:begin], rest.strip(_EDGES) if has_field else value


def _leads(phrases: Sequence[str], folded: str, named: int) -> list[tuple[int, int]]:
    """Return where the first occurrence of each phrase behind `named` begins and ends; of those at one place the
    longest."""
    found = [(at, at + len(phrase) + 2) for phrase in phrases if (at := folded.find(f" {phrase} ", named)) >= 0]
    return sorted({begin: max(span for span in found if span[0] == begin) for begin, _ in found}.values())


def _folded(sentence: str) -> str:
    """Return a sentence in lower case and without accents, in the places of its characters."""
    return "".join((words(char) or [char])[0][:1] if char.isalpha() else char for char in sentence)


def _ids(record: Record, text: str, listed: _Words, policy: OperationsPolicy) -> list[str]:
    """Return the ids of a text: words with the prefix of the record's ids, and words with a digit after its name."""
    prefix, found = policy.id_prefixes.get(record, ""), []
    before = ""
    for match in _ID.finditer(text):
        word = match.group().rstrip("._-")
        is_named = record in _values(listed.records, words(before)) and any(map(str.isdigit, word))
        if is_named or (prefix and word.startswith(prefix) and len(word) > len(prefix)):
            found.append(word)
        before = word
    return list(dict.fromkeys(found))


def _values(lexicon: Lexicon[Any], text: Sequence[str]) -> list[Any]:
    return [match.value for match in lexicon.matches(text)]


def _longest(lexicon: Lexicon[str], text: Sequence[str]) -> Iterator[str]:
    """Yield the values of phrases that are not inside of longer ones."""
    found = list(lexicon.matches(text))
    for one in found:
        inside = [each for each in found if each.start <= one.start and one.end <= each.end]
        if all(each.end - each.start == one.end - one.start for each in inside):
            yield one.value


@cache
def word_lists() -> Mapping[str, _Words]:
    """Read the word lists, by language."""
    data = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
    return {language: _words(listed) for language, listed in data.items()}


def _words(data: Mapping[str, Any]) -> _Words:
    return _Words(
        verbs=Lexicon((phrase, kind) for kind in ("change", "move", "assign") for phrase in data[kind]),
        fields=Lexicon((phrase, field) for field, phrases in data["fields"].items() for phrase in phrases),
        records=Lexicon((phrase, record) for record, phrases in data["records"].items() for phrase in phrases),
        others=Lexicon((phrase, kind) for kind in ("not", "all", "open") for phrase in data[kind]),
        to=tuple(" ".join(words(phrase)) for phrase in sorted(data["to"], key=len, reverse=True)),
        undo=frozenset(tuple(words(phrase)) for phrase in data["undo"]),
    )
