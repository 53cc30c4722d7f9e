"""The offline demo composer as a provider."""

import asyncio
from collections.abc import AsyncGenerator

from graphmesh_chassis.errors import FieldViolation, InvalidRequest

from graphmesh_model.domain import Answer, Piece, Prompt
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.offline import composer
from graphmesh_model.offline.filler import TooLarge, Unfillable


class OfflineProvider:
    """Composes answers without a network; see `graphmesh_model.offline`."""

    vendor = composer.PROVIDER
    model = composer.MODEL
    description = composer.DESCRIPTION
    offline = True

    async def answer(self, prompt: Prompt) -> Answer:
        """Compose in a thread: a long conversation takes a moment, in which others must go on."""
        try:
            return await asyncio.to_thread(composer.compose, prompt)
        except Unfillable as error:
            raise OutputInvalid(f"The offline demo composer cannot fill {error}", model=self.model) from error
        except TooLarge as error:
            raise InvalidRequest(violations=[FieldViolation("prompt.response_schema_json", str(error))]) from error

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        for piece in composer.pieces(await self.answer(prompt)):
            yield piece
