"""Filling a JSON schema from a conversation.

What the conversation does not hold is not invented: an optional property is left out, and for a required one the filler
refuses, naming it, unless its schema has a default, allows null, or has only choices to choose from.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice
from typing import Any

from graphmesh_model.domain import Schema
from graphmesh_model.offline.choices import Verdict, choices, decide
from graphmesh_model.offline.material import Material
from graphmesh_model.offline.spotting import FORMATS, format_test, is_number, number, pattern_test, spot
from graphmesh_model.offline.words import shortened, words

SCORES = words("confidence score certainty probability likelihood")
OF_THE_REQUEST = words("request summary subject title topic problem query complaint")
MINOR_UNITS = words("minor")
NOTHING_FOUND = "The given documents say nothing about this."
LARGEST_ARRAY = 3
LARGEST_FILLING = 5_000
DEEPEST = 32
NOTHING = object()


class Unfillable(ValueError):
    """The conversation holds nothing for a value that the schema requires."""

    def __init__(self, path: str, why: str = "the conversation holds no value for it") -> None:
        super().__init__(f"{path or 'value'}: {why}")


class TooLarge(ValueError):
    """The schema describes more values than an answer may have."""


class Filler:
    """Fills one schema, once, from one conversation."""

    def __init__(self, schema: Schema, material: Material) -> None:
        self._root = schema
        self._material = material
        self._path: list[str] = []
        self._left, self._depth = LARGEST_FILLING, 0
        self._makers: Mapping[str, Callable[[Schema, float], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "number": self._number,
            "integer": self._integer,
            "boolean": self._boolean,
            "null": lambda schema, score: None,
        }

    def fill(self) -> Any:
        """A value for the schema, the same each time.

        Raises:
            Unfillable: the conversation holds nothing for a required part of it.
            TooLarge: the schema describes too many values.
        """
        return self._value(self._root, self._material.coverage)

    def _value(self, schema: Schema | bool, score: float) -> Any:
        schema = self._resolved(schema)
        if options := choices(schema):
            return decide(options, self._material.question_words, schema.get("default")).choice.value
        try:
            with self._bounded():
                return self._made(schema, score)
        except Unfillable:
            if "default" in schema:
                return schema["default"]
            raise

    def _made(self, schema: Schema, score: float) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        alternatives = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(kind, list):
            alternatives = [{**schema, "type": each} for each in kind]
        if alternatives:
            return self._first_that_fills(alternatives, score)
        return self._makers[kind](schema, score)

    def _first_that_fills(self, alternatives: list[Schema | bool], score: float) -> Any:
        nullable = [option for option in alternatives if self._resolved(option).get("type") == "null"]
        for option in [option for option in alternatives if option not in nullable] + nullable:
            try:
                return self._value(option, score)
            except Unfillable:
                continue
        raise self._unfillable()

    def _object(self, schema: Schema, score: float) -> dict[str, Any]:
        properties: Mapping[str, Schema] = schema.get("properties", {})
        verdict = self._first_verdict(properties)
        score = verdict.margin if verdict else score
        required = frozenset(schema.get("required", ()))
        members = ((name, self._member(name, inner, score, required)) for name, inner in properties.items())
        return {name: value for name, value in members if name in required or value is not NOTHING}

    def _member(self, name: str, schema: Schema, score: float, required: frozenset[str]) -> Any:
        """The value of a property, or NOTHING for one that is optional."""
        try:
            with self._inside(name):
                value = self._value(schema, score)
        except Unfillable:
            if name in required:
                raise
            return NOTHING
        return NOTHING if value == {} and name not in required else value

    def _first_verdict(self, properties: Mapping[str, Schema]) -> Verdict | None:
        for inner in properties.values():
            options = choices(self._resolved(inner))
            if len(options) > 1:
                return decide(options, self._material.question_words)
        return None

    def _array(self, schema: Schema, score: float) -> list[Any]:
        items = self._resolved(schema.get("items", {}))
        most = schema.get("maxItems", LARGEST_ARRAY)
        found = list(islice(self._items(items, score), most))
        if len(found) < schema.get("minItems", 0):
            raise self._unfillable()
        return found

    def _items(self, items: Schema, score: float) -> Iterator[Any]:
        if options := choices(items):
            question = self._material.question_words
            spoken_for = [option for option in options if option.overlap(question)]
            return (option.value for option in sorted(spoken_for, key=lambda option: -option.overlap(question)))
        if items.get("type") == "string":
            return iter(self._strings(items, [quote.text for quote in self._material.quotes]))
        return self._one_item(items, score)

    def _one_item(self, items: Schema, score: float) -> Iterator[Any]:
        try:
            yield self._value(items, score)
        except Unfillable:
            return

    def _string(self, schema: Schema, score: float) -> str:
        found = self._strings(schema, [self._text(schema)])
        if not found:
            raise self._unfillable()
        return found[0]

    def _strings(self, schema: Schema, texts: list[str]) -> list[str]:
        """What the person named, where the schema says how that looks, or else `texts` cut to size; if they fit."""
        low, high = schema.get("minLength", 0), schema.get("maxLength")
        if test := _test(schema):
            texts = self._spotted(test)
        elif high is not None:
            texts = [shortened(text, high) for text in texts]
        return [text for text in texts if low <= len(text) and (high is None or len(text) <= high)]

    def _text(self, schema: Schema) -> str:
        """Quotes of the documents, or the person's own words where there are none or the property is about those."""
        of_the_request = words(f"{self._name} {schema.get('title', '')}") & OF_THE_REQUEST
        if of_the_request or not self._material.documents:
            return self._material.question
        return " ".join(quote.text for quote in self._material.quotes) or NOTHING_FOUND

    def _number(self, schema: Schema, score: float) -> int | float:
        if words(self._name) & SCORES:
            return _scaled(schema, score)
        for candidate in self._numbers():
            if _within(schema, candidate):
                return int(candidate) if candidate == candidate.to_integral_value() else float(candidate)
        raise self._unfillable()

    def _integer(self, schema: Schema, score: float) -> int:
        if words(self._name) & SCORES:
            return round(_scaled(schema, score))
        for candidate in self._numbers():
            if candidate == candidate.to_integral_value() and _within(schema, candidate):
                return int(candidate)
        raise self._unfillable()

    def _numbers(self) -> Iterator[Decimal]:
        units = 100 if words(self._name) & MINOR_UNITS else 1
        return (number(word) * units for word in self._spotted(is_number))

    def _boolean(self, schema: Schema, score: float) -> bool:
        described = words(f"{self._name} {schema.get('title', '')} {schema.get('description', '')}")
        if described & self._material.question_words:
            return True
        return bool(schema.get("default", False))

    def _spotted(self, test: Callable[[str], bool]) -> list[str]:
        return spot(self._material.said, test, self._name)

    def _resolved(self, schema: Schema | bool) -> Schema:
        """`schema` with its reference followed, and what stands beside the reference laid over it; `true` is any."""
        for _ in range(DEEPEST):
            if isinstance(schema, bool):
                return {}
            if "$ref" not in schema:
                return schema
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**self._referred(schema["$ref"]), **beside}
        raise self._unfillable()

    def _referred(self, reference: str) -> Schema:
        found: Any = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            found = found.get(step, {}) if isinstance(found, Mapping) and step else found
        return found if isinstance(found, Mapping) else {}

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Keep a schema that refers to itself, or to others many times over, from growing without end."""
        self._left -= 1
        if self._left < 0:
            raise TooLarge(f"the schema describes more than {LARGEST_FILLING} values")
        if self._depth == DEEPEST:
            raise self._unfillable()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    @contextmanager
    def _inside(self, name: str) -> Iterator[None]:
        self._path.append(name)
        try:
            yield
        finally:
            self._path.pop()

    @property
    def _name(self) -> str:
        return self._path[-1] if self._path else ""

    def _unfillable(self) -> Unfillable:
        return Unfillable(".".join(self._path))


def _test(schema: Schema) -> Callable[[str], bool] | None:
    """What a string of `schema` has to look like, where that can be told by looking at one word."""
    if "pattern" in schema:
        return pattern_test(schema["pattern"])
    if schema.get("format") in FORMATS:
        return format_test(schema["format"])
    return None


def _within(schema: Schema, value: Decimal) -> bool:
    def bound(name: str, otherwise: str) -> Decimal:
        return Decimal(str(schema.get(name, otherwise)))

    return (
        bound("minimum", "-Infinity") <= value <= bound("maximum", "Infinity")
        and bound("exclusiveMinimum", "-Infinity") < value < bound("exclusiveMaximum", "Infinity")
        and ("multipleOf" not in schema or value % bound("multipleOf", "1") == 0)
    )


def _scaled(schema: Schema, score: float) -> float:
    """A score between 0 and 1, on the scale that the schema gives."""
    low, high = float(schema.get("minimum", 0)), float(schema.get("maximum", 1))
    return round(low + score * (high - low), 3)
