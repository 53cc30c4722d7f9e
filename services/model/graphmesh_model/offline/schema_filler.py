"""Fill a JSON schema with values from a conversation.

Values that the conversation does not contain are not invented: an optional property is omitted, and a required one
raises Unfillable with its path, unless its schema has a default, allows null, or declares choices.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice
from typing import Any

from graphmesh_model.domain import Schema
from graphmesh_model.offline.choices import Selection, declared_choices, select
from graphmesh_model.offline.conversation import Conversation
from graphmesh_model.offline.extraction import FORMATS, find_tokens, format_test, is_number, number, pattern_test
from graphmesh_model.offline.text import stems, truncated

SCORE_NAMES = stems("confidence score certainty probability likelihood")
REQUEST_NAMES = stems("request summary subject title topic problem query complaint")
MINOR_UNIT_NAMES = stems("minor")
NO_RELEVANT_SENTENCE = "The given documents say nothing about this."
MAX_ARRAY_ITEMS = 3
MAX_VALUES = 5_000
MAX_DEPTH = 32
OMITTED = object()


class Unfillable(ValueError):
    """The conversation contains no value for a required part of the schema."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path or 'value'}: the conversation holds no value for it")


class SchemaTooLarge(ValueError):
    """The schema describes more values than an answer may have."""


class Filler:
    """Fills one schema, once, from one conversation."""

    def __init__(self, schema: Schema, conversation: Conversation) -> None:
        self._root = schema
        self._conversation = conversation
        self._path: list[str] = []
        self._values_left, self._depth = MAX_VALUES, 0
        self._builders: Mapping[str, Callable[[Schema, float], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "number": self._number,
            "integer": self._integer,
            "boolean": self._boolean,
            "null": lambda schema, score: None,
        }

    def fill(self) -> Any:
        """Build a value for the schema; deterministic.

        Raises:
            Unfillable: the conversation contains no value for a required part of the schema.
            SchemaTooLarge: the schema describes too many values.
        """
        return self._fill_value(self._root, self._conversation.coverage)

    def _fill_value(self, schema: Schema | bool, score: float) -> Any:
        schema = self._resolve(schema)
        if options := declared_choices(schema):
            return select(options, self._conversation.question_stems, schema.get("default")).choice.value
        try:
            with self._bounded():
                return self._build(schema, score)
        except Unfillable:
            if "default" in schema:
                return schema["default"]
            raise

    def _build(self, schema: Schema, score: float) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        alternatives = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(kind, list):
            alternatives = [{**schema, "type": each} for each in kind]
        if alternatives:
            return self._fill_alternative(alternatives, score)
        return self._builders[kind](schema, score)

    def _fill_alternative(self, alternatives: list[Schema | bool], score: float) -> Any:
        nullable = [option for option in alternatives if self._resolve(option).get("type") == "null"]
        for option in [option for option in alternatives if option not in nullable] + nullable:
            try:
                return self._fill_value(option, score)
            except Unfillable:
                continue
        raise self._unfillable()

    def _object(self, schema: Schema, score: float) -> dict[str, Any]:
        properties: Mapping[str, Schema] = schema.get("properties", {})
        selection = self._first_selection(properties)
        score = selection.margin if selection else score
        required = frozenset(schema.get("required", ()))
        members = ((name, self._property_value(name, inner, score, required)) for name, inner in properties.items())
        return {name: value for name, value in members if name in required or value is not OMITTED}

    def _property_value(self, name: str, schema: Schema, score: float, required: frozenset[str]) -> Any:
        """Return the value of a property, or OMITTED for an optional one without a value."""
        try:
            with self._within_property(name):
                value = self._fill_value(schema, score)
        except Unfillable:
            if name in required:
                raise
            return OMITTED
        return OMITTED if value == {} and name not in required else value

    def _first_selection(self, properties: Mapping[str, Schema]) -> Selection | None:
        for inner in properties.values():
            options = declared_choices(self._resolve(inner))
            if len(options) > 1:
                return select(options, self._conversation.question_stems)
        return None

    def _array(self, schema: Schema, score: float) -> list[Any]:
        items = self._resolve(schema.get("items", {}))
        max_items = schema.get("maxItems", MAX_ARRAY_ITEMS)
        found = list(islice(self._items(items, score), max_items))
        if len(found) < schema.get("minItems", 0):
            raise self._unfillable()
        return found

    def _items(self, items: Schema, score: float) -> Iterator[Any]:
        if options := declared_choices(items):
            question = self._conversation.question_stems
            matching = [option for option in options if option.overlap(question)]
            return (option.value for option in sorted(matching, key=lambda option: -option.overlap(question)))
        if items.get("type") == "string":
            return iter(self._strings(items, [quote.text for quote in self._conversation.quotes]))
        return self._one_item(items, score)

    def _one_item(self, items: Schema, score: float) -> Iterator[Any]:
        try:
            yield self._fill_value(items, score)
        except Unfillable:
            return

    def _string(self, schema: Schema, score: float) -> str:
        found = self._strings(schema, [self._text(schema)])
        if not found:
            raise self._unfillable()
        return found[0]

    def _strings(self, schema: Schema, texts: list[str]) -> list[str]:
        """Return strings of the allowed length: matching tokens if the schema has a pattern or format, else `texts`."""
        low, high = schema.get("minLength", 0), schema.get("maxLength")
        if test := _token_test(schema):
            texts = self._find_tokens(test)
        elif high is not None:
            texts = [truncated(text, high) for text in texts]
        return [text for text in texts if low <= len(text) and (high is None or len(text) <= high)]

    def _text(self, schema: Schema) -> str:
        """Return quotes of the documents; or the question, if there are no documents or the property describes it."""
        about_request = stems(f"{self._name} {schema.get('title', '')}") & REQUEST_NAMES
        if about_request or not self._conversation.documents:
            return self._conversation.question
        return " ".join(quote.text for quote in self._conversation.quotes) or NO_RELEVANT_SENTENCE

    def _number(self, schema: Schema, score: float) -> int | float:
        if stems(self._name) & SCORE_NAMES:
            return _score(schema, score)
        for candidate in self._numbers():
            if _satisfies_bounds(schema, candidate):
                return int(candidate) if candidate == candidate.to_integral_value() else float(candidate)
        raise self._unfillable()

    def _integer(self, schema: Schema, score: float) -> int:
        if stems(self._name) & SCORE_NAMES:
            return round(_score(schema, score))
        for candidate in self._numbers():
            if candidate == candidate.to_integral_value() and _satisfies_bounds(schema, candidate):
                return int(candidate)
        raise self._unfillable()

    def _numbers(self) -> Iterator[Decimal]:
        units = 100 if stems(self._name) & MINOR_UNIT_NAMES else 1
        return (number(word) * units for word in self._find_tokens(is_number))

    def _boolean(self, schema: Schema, score: float) -> bool:
        described = stems(f"{self._name} {schema.get('title', '')} {schema.get('description', '')}")
        if described & self._conversation.question_stems:
            return True
        return bool(schema.get("default", False))

    def _find_tokens(self, test: Callable[[str], bool]) -> list[str]:
        return find_tokens(self._conversation.user_texts, test, self._name)

    def _resolve(self, schema: Schema | bool) -> Schema:
        """Follow the references of `schema`; keywords beside a reference override the referenced ones.

        A boolean schema becomes one without constraints.
        """
        for _ in range(MAX_DEPTH):
            if isinstance(schema, bool):
                return {}
            if "$ref" not in schema:
                return schema
            siblings = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**self._lookup(schema["$ref"]), **siblings}
        raise self._unfillable()

    def _lookup(self, reference: str) -> Schema:
        found: Any = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            found = found.get(step, {}) if isinstance(found, Mapping) and step else found
        return found if isinstance(found, Mapping) else {}

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Limit depth and number of values: a schema can refer to itself, or grow exponentially by its references."""
        self._values_left -= 1
        if self._values_left < 0:
            raise SchemaTooLarge(f"the schema describes more than {MAX_VALUES} values")
        if self._depth == MAX_DEPTH:
            raise self._unfillable()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    @contextmanager
    def _within_property(self, name: str) -> Iterator[None]:
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


def _token_test(schema: Schema) -> Callable[[str], bool] | None:
    """Return a test of single tokens for a string schema that has a pattern or a known format."""
    if "pattern" in schema:
        return pattern_test(schema["pattern"])
    if schema.get("format") in FORMATS:
        return format_test(schema["format"])
    return None


def _satisfies_bounds(schema: Schema, value: Decimal) -> bool:
    def bound(name: str, otherwise: str) -> Decimal:
        return Decimal(str(schema.get(name, otherwise)))

    return (
        bound("minimum", "-Infinity") <= value <= bound("maximum", "Infinity")
        and bound("exclusiveMinimum", "-Infinity") < value < bound("exclusiveMaximum", "Infinity")
        and ("multipleOf" not in schema or value % bound("multipleOf", "1") == 0)
    )


def _score(schema: Schema, score: float) -> float:
    """Scale a score between 0 and 1 to the schema's minimum and maximum."""
    low, high = float(schema.get("minimum", 0)), float(schema.get("maximum", 1))
    return round(low + score * (high - low), 3)
