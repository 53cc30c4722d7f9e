"""The offline demo composer as a provider."""

import asyncio
from collections.abc import AsyncGenerator

from graphmesh_chassis.errors import FieldViolation, InvalidRequest

from graphmesh_model.capabilities import media_kinds, unsupported
from graphmesh_model.domain import Answer, Prompt, StreamEvent
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.offline import composer
from graphmesh_model.offline.schema_filler import SchemaTooLarge, Unfillable


class OfflineProvider:
    """Composes answers without a network; see `graphmesh_model.offline`."""

    vendor = composer.PROVIDER
    model = composer.MODEL
    description = composer.DESCRIPTION
    offline = True

    async def answer(self, prompt: Prompt) -> Answer:
        """Compose in a thread, because a long conversation would block the event loop."""
        if kinds := media_kinds(prompt):
            raise unsupported(self.vendor, self.model, f"the {', '.join(kinds)} of a message: it reads text only")
        try:
            return await asyncio.to_thread(composer.compose, prompt)
        except Unfillable as error:
            raise OutputInvalid(f"The offline demo composer cannot fill {error}", model=self.model) from error
        except SchemaTooLarge as error:
            raise InvalidRequest(violations=[FieldViolation("prompt.response_schema_json", str(error))]) from error

    async def stream(self, prompt: Prompt) -> AsyncGenerator[StreamEvent, None]:
        for event in composer.stream_events(await self.answer(prompt)):
            yield event
