"""Adapts the embeddings of LangChain, of any vendor, to the port."""

from collections.abc import Awaitable, Callable, Sequence

from langchain_core.embeddings import Embeddings

from graphmesh_model.embedding import Vectors
from graphmesh_model.vendor_errors import translated

Close = Callable[[], Awaitable[None]]


class LangchainEmbedder:
    offline = False

    def __init__(self, embeddings: Embeddings, vendor: str, model: str, close: Close | None = None) -> None:
        """`close` ends the connections to the vendor."""
        self.vendor, self.model = vendor, model
        self._embeddings, self._close = embeddings, close

    async def close(self) -> None:
        if self._close:
            await self._close()

    async def embed(self, texts: Sequence[str]) -> Vectors:
        with translated(self.vendor, self.model):
            return await self._embeddings.aembed_documents(list(texts))
