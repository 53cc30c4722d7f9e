"""ModelService: decode, use case, encode."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from graphmesh.model import v1 as pb
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.errors import ProviderMisconfigured, ProviderUnavailable
from grpc.aio import UsageError

from graphmesh_model import answering, convert
from graphmesh_model.catalogue import Catalogue


class ModelServicer(pb.ModelServiceServicer):
    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> pb.GenerateResponse:
        chain = self._catalogue.chain(request.prompt.model)
        async with _vendor_faults(context):
            answer = await answering.answer(chain, convert.prompt(request.prompt), current_call().deadline)
        return convert.checked(convert.response, answer)

    async def StreamGenerate(
        self, request: pb.StreamGenerateRequest, context: Any
    ) -> AsyncIterator[pb.StreamGenerateResponse]:
        chain = self._catalogue.chain(request.prompt.model)
        stream = answering.stream(chain, convert.prompt(request.prompt), current_call().deadline)
        async with _vendor_faults(context), aclosing(stream) as pieces:
            async for piece in pieces:
                yield convert.checked(convert.event, piece)

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(models=[convert.model(entry) for entry in self._catalogue])


@asynccontextmanager
async def _vendor_faults(context: Any) -> AsyncIterator[None]:
    """Send the initial metadata before a vendor's fault. Envoy's breaker counts UNAVAILABLE without it, and one vendor
    that is down must not close the way to the others."""
    try:
        yield
    except (ProviderMisconfigured, ProviderUnavailable):
        with suppress(UsageError):  # a part of a stream was sent, so they were, too
            await context.send_initial_metadata(())
        raise
