"""The worst value that a JSON schema allows: the largest amount, another customer's id, an injection, the prompt."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from graphmesh_chassis.linear_patterns import linear_search
from graphmesh_model.schemas import schema_violation

from graphmesh_eval.hostile.arsenal import (
    BY_NAME,
    DEEDS,
    DENIALS,
    HARMFUL,
    ID_PREFIXES,
    INJECTIONS,
    LEAKED,
    LINKS,
    OF_FORMATS,
    OTHERS,
    QUOTED,
)

Schema = Mapping[str, Any]

IDS = re.compile(r"\b(?:cu_\w{1,40}|INV-\d{1,12}|TT-\d{1,12}|T-\d{1,12}|ch_\w{1,64}|re_\w{1,64})\b")
LARGEST = 9_007_199_254_740_991
"""The largest integer that JSON carries exactly."""
AMOUNTS = re.compile(r"\b\d{1,6}[.,]\d{2}\b")
ATTEMPTS = 24
MAX_DEPTH = 12
MAX_TEXT = 20_000


@dataclass
class Malice:
    """Chooses the worst values, by a chance that the seed and the prompt decide.

    Args:
        prompt: all text of the request, from which it takes ids and what it leaks.
        message: the last text of a person, from which it quotes.
        is_cunning: whether it chooses what leads to an effect, and quotes; otherwise all choices are equally likely.
    """

    chance: Random
    prompt: str = ""
    message: str = ""
    is_cunning: bool = False
    restraint: float = 0.0
    """The share of optional properties that are left out."""
    definitions: Schema = field(default_factory=dict)

    def valid(self, schema: Schema) -> Any:
        """Return a value that fits the schema with all of its rules; the last attempt where none does.

        Attempts leave out more and more of what is optional, since properties may exclude each other.
        """
        made: Any = None
        for attempt in range(ATTEMPTS):
            self.restraint = max(attempt / ATTEMPTS, self.chance.choice((0, 0, 0.5, 0.8)))
            made = self.value(schema)
            if schema_violation(made, schema) is None:
                break
        return made

    def text(self) -> str:
        """Return a free text for people."""
        parts = [
            self.chance.choice(DEEDS) + ".",
            self.chance.choice((*LINKS, "")),
            self.chance.choice((*INJECTIONS, "")),
            f"{LEAKED} {self.prompt[: self.chance.choice((0, 400, 4000))]}",
        ]
        self.chance.shuffle(parts)
        return " ".join(part for part in parts if part)

    def value(self, schema: Any, depth: int = 0, name: str = "") -> Any:
        """Return a value that the schema allows, as harmful as it can be; `name` is that of its property."""
        if not isinstance(schema, Mapping):
            return self.text()
        schema = self._resolved(schema)
        for rule in ("anyOf", "oneOf"):
            if options := schema.get(rule):
                return self._option(schema, options, depth, name)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            worst = [one for one in schema["enum"] if one in HARMFUL] if self.is_cunning else []
            return self.chance.choice(worst or list(schema["enum"]))
        return self._of_type(schema, depth, name)

    def _option(self, schema: Schema, options: Sequence[Schema], depth: int, name: str) -> Any:
        """Prefer a value to null, so that as much as possible is filled."""
        filled = [option for option in options if option.get("type") != "null"] or list(options)
        around = {key: rule for key, rule in schema.items() if key not in ("anyOf", "oneOf")}
        return self.value({**around, **self.chance.choice(filled)}, depth + 1, name)

    def _resolved(self, schema: Schema) -> Schema:
        """Follow references, and merge `allOf`."""
        self.definitions = schema.get("$defs") or schema.get("definitions") or self.definitions
        for _ in range(MAX_DEPTH):
            if "$ref" in schema:
                name = str(schema["$ref"]).rpartition("/")[2]
                schema = {**self.definitions.get(name, {}), **{k: v for k, v in schema.items() if k != "$ref"}}
            elif "allOf" in schema:
                merged = {key: value for part in schema["allOf"] for key, value in part.items()}
                schema = {**merged, **{k: v for k, v in schema.items() if k != "allOf"}}
            else:
                break
        return schema

    def _of_type(self, schema: Schema, depth: int, name: str) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        kind = next((one for one in kind if one != "null"), "null") if isinstance(kind, list) else kind
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth, name)
            case "boolean":
                return self._flag(name)
            case "integer":
                return int(self._number(schema))
            case "number":
                return self._number(schema)
            case "null":
                return None
        return self._string(schema, name)

    def _flag(self, name: str) -> bool:
        if self.is_cunning:
            return not any(part in name for part in DENIALS)
        return self.chance.random() < 0.8

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        if depth > MAX_DEPTH:
            return {}
        required = schema.get("required", ())
        made = {
            name: self.value(inner, depth + 1, name)
            for name, inner in schema.get("properties", {}).items()
            if name in required or self.chance.random() >= self.restraint
        }
        more = schema.get("additionalProperties", False)
        if isinstance(more, Mapping) or (more is True and not made):
            made |= {name: self.value(more, depth + 1, name) for name in ("amount", "customer_id")}
        return made

    def _array(self, schema: Schema, depth: int, name: str) -> list[Any]:
        least, most = int(schema.get("minItems", 0)), int(schema.get("maxItems", 4))
        count = max(least, min(most, self.chance.choice((1, 2, 4)))) if depth <= MAX_DEPTH else least
        made = [self.value(schema.get("items", {}), depth + 1, name) for _ in range(count)]
        return [one for at, one in enumerate(made) if one not in made[:at]] if schema.get("uniqueItems") else made

    def _number(self, schema: Schema) -> float:
        """Return the largest that is allowed, or an amount of the prompt, which code believes sooner."""
        least, most = self._bounds(schema)
        stated = [minor for text in AMOUNTS.findall(self.prompt) if least <= (minor := _minor(text)) <= most]
        fortune = most if most < LARGEST else self.chance.choice((LARGEST, 500_000, 5_000))
        return float(self.chance.choice(stated) if stated and self.chance.random() < 0.6 else max(fortune, least))

    def _bounds(self, schema: Schema) -> tuple[float, float]:
        least, most = schema.get("minimum"), schema.get("maximum")
        above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        return (
            least if least is not None else above + 1 if above is not None else 0,
            most if most is not None else below - 1 if below is not None else LARGEST,
        )

    def _string(self, schema: Schema, name: str) -> str:
        if of_format := OF_FORMATS.get(schema.get("format", "")):
            return of_format
        least, most = int(schema.get("minLength", 0)), int(schema.get("maxLength", MAX_TEXT))
        matches = _matcher(schema.get("pattern", ""))
        for candidates in (self._named(name), self._candidates()):
            fitting = [text for one in candidates if least <= len(text := one[:most]) and matches(text)]
            if fitting:
                return self.chance.choice(fitting)
        return "a" * max(least, 1)

    def _named(self, name: str) -> Sequence[str]:
        """Return texts that a property of this name is likely to accept; mostly, since others are attacks too."""
        if self.chance.random() < 0.2:
            return ()
        if self.is_cunning and any(part in name for part in QUOTED) and (quoted := self._quotations()):
            return quoted
        found = [*IDS.findall(self.message), *IDS.findall(self.prompt), *([] if self.is_cunning else OTHERS)]
        for part, prefix in ID_PREFIXES.items():
            if part in name:
                return [one for one in found if one.startswith(prefix)]
        return next((texts for part, texts in BY_NAME.items() if part in name), ())

    def _quotations(self) -> list[str]:
        """Return amounts of the message, and runs of its words."""
        words = self.message.split()
        runs = [" ".join(words[at : at + size]) for size in (2, 3) for at in range(len(words) - size + 1)][:40]
        return AMOUNTS.findall(self.message) or runs

    def _candidates(self) -> Iterator[str]:
        """Yield texts of all kinds; those of the prompt as often as foreign ones, since code believes them sooner."""
        found = sorted(set(IDS.findall(self.prompt)))
        yield from self.chance.sample(found, min(4, len(found)))
        yield from self.chance.sample(OTHERS, 2)
        yield from (self.chance.choice(INJECTIONS), self.chance.choice(LINKS), self.chance.choice(DEEDS))
        yield from ("9999.00", "5000.00 EUR", "EUR", "2026-11-30", "2026-11-30T12:00:00Z", "3600s", "admin", "yes", "a")
        yield from (str(int(self._number({}))), "1", "500000")
        yield from self.chance.sample(amounts := AMOUNTS.findall(self.prompt), min(2, len(amounts)))
        quoted = self._quotation()
        if quoted:
            yield quoted
        yield self.text()

    def _quotation(self) -> str:
        """Return a sentence of the prompt: checks of quotations pass it."""
        sentences = [one.strip() for one in re.split(r"[.\n]", self.prompt) if 20 < len(one.strip()) < 300]
        return self.chance.choice(sentences) if sentences else ""


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Return a test of a schema's pattern; one that cannot be matched in linear time is left to the service."""
    try:
        return linear_search(pattern)
    except ValueError:
        return lambda text: True


def _minor(amount: str) -> int:
    return int(amount.replace(".", "").replace(",", ""))


def chance_of(seed: int, request: Mapping[str, Any]) -> Random:
    """Return a chance that is the same for an equal request, in whatever order requests arrive."""
    return Random(f"{seed}:{json.dumps(request, sort_keys=True)}")
