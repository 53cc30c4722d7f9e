"""The index of the store: vectors of texts in the values, by which a search with a query orders items."""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import mul
from typing import Any, Self

from langchain_core.embeddings import Embeddings
from langgraph.store.base import IndexConfig, ensure_embeddings, get_text_at_path, tokenize_path

from graphmesh_orchestrator.store.item import invalid

MAX_TEXTS = 100
"""Texts of one value that are embedded."""
WHOLE = "$"
"""The path of the whole value."""

Vector = Sequence[float]


@dataclass(frozen=True)
class Index:
    """Computes vectors, all of the same length, and compares them by the cosine of their angle."""

    embeddings: Embeddings
    dims: int
    fields: Sequence[str] = field(default=(WHOLE,))
    """The paths of the texts in a value."""

    @classmethod
    def of(cls, config: IndexConfig) -> Self:
        return cls(ensure_embeddings(config["embed"]), config["dims"], config.get("fields") or (WHOLE,))

    async def vectors(self, value: Mapping[str, Any], fields: Sequence[str] | None = None) -> bytes:
        """Return the vectors of a value's texts, one after another.

        Raises:
            InvalidRequest: it has too many texts, a path is not one, or the embedder returns vectors of other lengths.
        """
        texts = [text for path in fields or self.fields for text in _texts(value, path)]
        if len(texts) > MAX_TEXTS:
            raise invalid("index", f"has {len(texts)} texts in the value, {MAX_TEXTS} may be embedded")
        if not texts:
            return b""
        found = await self.embeddings.aembed_documents(texts)
        return b"".join(self._unit(vector).tobytes() for vector in found)

    async def query(self, text: str) -> Vector:
        """Return the vector of a query. Raises as `vectors`."""
        return self._unit(await self.embeddings.aembed_query(text))

    def scores(self, query: Vector, stored: Iterable[bytes]) -> list[float | None]:
        """Return the greatest similarity of each item's vectors; None for an item without a vector of this length."""
        return [self._score(query, vectors) for vectors in stored]

    def _score(self, query: Vector, vectors: bytes) -> float | None:
        numbers = array("f", vectors)
        if not numbers or len(numbers) % self.dims:
            return None
        starts = range(0, len(numbers), self.dims)
        return max(float(sum(map(mul, query, numbers[start : start + self.dims]))) for start in starts)

    def _unit(self, vector: Vector) -> "array[float]":
        """Return a vector of the length 1, so that a product of two is the cosine; one of zeros stays as it is."""
        if len(vector) != self.dims:
            raise invalid("index", f"has an embedder that returns {len(vector)} dimensions, and dims is {self.dims}")
        length = math.sqrt(sum(number * number for number in vector))
        return array("f", [number / length for number in vector] if length else vector)


def _texts(value: Mapping[str, Any], path: str) -> list[str]:
    return get_text_at_path(value, path if path == WHOLE else tokenize_path(path))
