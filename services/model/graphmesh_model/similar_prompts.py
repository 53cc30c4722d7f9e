"""Finds stored answers to prompts that differ from another one in the words of their last message alone."""

import hashlib
import math
import operator
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from graphmesh.model import v1 as pb
from graphmesh_chassis.calls import serialized

_NUMBERS = re.compile(r"\d+")


@dataclass(frozen=True)
class Question:
    """The last message of a prompt, and the digest of all that has to be equal for its answer to be shared."""

    text: str
    context: bytes


@dataclass(frozen=True)
class Place:
    """The place of a question among others of one context: the direction of its embedding."""

    context: bytes
    direction: "array[float]"

    def similarity(self, other: "Place") -> float:
        """Return the cosine of the embeddings; 0 of another context."""
        if self.context != other.context or len(self.direction) != len(other.direction):
            return 0.0
        cosine: float = sum(map(operator.mul, self.direction, other.direction))
        return min(1.0, cosine)

    @property
    def size(self) -> int:
        return self.direction.itemsize * len(self.direction)


def question_of(prompt: pb.Prompt) -> Question | None:
    """Return the question of a prompt; None where its answer is for this prompt alone.

    It ends with a text of a user, and has no tools: their arguments are in the words. The numbers in the text have to
    be equal, too: embeddings hardly tell them apart.
    """
    last = prompt.messages[-1]
    if prompt.tools or not last.user.text:
        return None
    context = pb.Prompt()
    context.CopyFrom(prompt)
    context.messages[-1].user.text = " ".join(_NUMBERS.findall(last.user.text))
    return Question(last.user.text, hashlib.sha256(serialized(context)).digest())


def place_of(question: Question, embedding: Sequence[float]) -> Place | None:
    """Return the place of a question; None where its embedding has no direction."""
    length = math.hypot(*embedding)
    if not length:
        return None
    return Place(question.context, array("f", [value / length for value in embedding]))
