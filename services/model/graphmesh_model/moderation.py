"""The hook by which an operator's own code refuses prompts and answers."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from importlib import import_module

import structlog
from graphmesh_chassis.errors import ProviderUnavailable, RuleViolated
from graphmesh_chassis.settings import BadSetting

from graphmesh_model.accounting.tokens import texts_of
from graphmesh_model.domain import Answer, Prompt, StreamEvent

log = structlog.get_logger()

Hook = Callable[[str, Sequence[str]], Awaitable[Sequence[str]]]
"""Called with the tenant and texts; returns the categories for which they are refused, none where they are fine."""
HOOK_SECONDS = 10.0
MAX_CATEGORIES = 200
"""Characters of the categories in an error."""


def load_hook(name: str, variable: str) -> Hook:
    """Import `module:function`. Raises BadSetting where there is none."""
    module, _, attribute = name.partition(":")
    try:
        hook: Hook = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BadSetting(f"{variable}: {name} cannot be imported: {error}") from error
    if not callable(hook):
        raise BadSetting(f"{variable}: {name} is no function")
    return hook


class Moderation:
    """Holds prompts and answers to a hook; where it fails, they are refused."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    async def moderated(
        self, prompt: Prompt, tenant: str, events: AsyncGenerator[StreamEvent, None]
    ) -> AsyncGenerator[StreamEvent, None]:
        """Yield the events of an answer when it is complete and passes, after the prompt has passed.

        Raises:
            RuleViolated: the hook refuses the prompt, for which no model is called then, or the answer.
            ProviderUnavailable: the hook fails, or takes too long.
        """
        async with aclosing(events):
            await self._require(tenant, list(texts_of(prompt)), "prompt")
            held = [event async for event in events]
        texts = [text for event in held if isinstance(event, Answer) for text in _answer_texts(event)]
        await self._require(tenant, texts, "answer")
        for event in held:
            yield event

    async def _require(self, tenant: str, texts: Sequence[str], part: str) -> None:
        try:
            async with asyncio.timeout(HOOK_SECONDS):
                categories = await self._hook(tenant, texts)
        except Exception as error:
            log.error("moderation failed", part=part, cause=type(error).__name__)
            message = f"The moderation of the {part} failed, so that it is refused"
            raise ProviderUnavailable(message, provider="moderation", cause=type(error).__name__) from None
        if categories:
            named = ", ".join(map(str, categories))[:MAX_CATEGORIES]
            raise RuleViolated(f"The {part} is refused: {named}", rule="moderated", part=part, categories=named)


def _answer_texts(answer: Answer) -> Iterator[str]:
    yield answer.message.text
    yield from (str(call.arguments) for call in answer.message.tool_calls)
