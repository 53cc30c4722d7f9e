"""The port to whoever runs a model."""

from collections.abc import AsyncGenerator
from typing import Protocol

from graphmesh_model.domain import Answer, Piece, Prompt


class Provider(Protocol):
    """One model of one vendor.

    Both methods raise ProviderUnavailable where the vendor does not answer, RateLimited where it takes no more calls
    for a while, RuleViolated where it refuses the prompt, and OutputInvalid where what it wrote is no answer.
    """

    @property
    def vendor(self) -> str: ...

    @property
    def model(self) -> str:
        """The vendor's name for it."""

    @property
    def description(self) -> str:
        """What it is, for people."""

    @property
    def offline(self) -> bool:
        """Whether it is the offline demo composer, not a language model."""

    async def answer(self, prompt: Prompt) -> Answer: ...

    def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """The answer piece by piece, and the whole of it last."""
