"""ModelService: decode, use case, encode."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from graphmesh.model import v1 as pb
from graphmesh_chassis.calls import current_call

from graphmesh_model import answering, convert
from graphmesh_model.catalogue import Catalogue


class ModelServicer(pb.ModelServiceServicer):
    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> pb.GenerateResponse:
        chain = self._catalogue.chain(request.prompt.model)
        answer = await answering.answer(chain, convert.prompt(request.prompt), current_call().deadline)
        return convert.response(answer)

    async def StreamGenerate(
        self, request: pb.StreamGenerateRequest, context: Any
    ) -> AsyncIterator[pb.StreamGenerateResponse]:
        chain = self._catalogue.chain(request.prompt.model)
        stream = answering.stream(chain, convert.prompt(request.prompt), current_call().deadline)
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                yield convert.event(piece)

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(models=[convert.model(entry) for entry in self._catalogue])
