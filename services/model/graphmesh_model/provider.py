"""The port to a vendor's model."""

from collections.abc import AsyncGenerator
from typing import Protocol

from graphmesh_model.domain import Answer, Prompt, StreamEvent


class Provider(Protocol):
    """One model of one vendor.

    Raises, from `answer` and `stream`:
        ProviderUnavailable: the vendor does not answer.
        ProviderMisconfigured: the vendor rejects the key, the account or the model's name.
        RateLimited: the vendor accepts no more calls at the moment.
        RuleViolated: the vendor rejects the prompt, or does not take a part of it.
        OutputInvalid: the vendor's response is not a valid answer.
    """

    @property
    def vendor(self) -> str: ...

    @property
    def model(self) -> str:
        """The vendor's name of the model."""

    @property
    def description(self) -> str:
        """A description for operators."""

    @property
    def offline(self) -> bool:
        """Whether this is the offline demo composer, not a language model."""

    async def answer(self, prompt: Prompt) -> Answer: ...

    def stream(self, prompt: Prompt) -> AsyncGenerator[StreamEvent, None]:
        """Stream deltas, then the whole answer as the last event."""
