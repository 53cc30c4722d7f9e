"""The models that an evaluation can have: as the settings of the mesh's model service, with the alias `default`."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from graphmesh_chassis.settings import BadSetting
from graphmesh_model.tiny_model import TINY, require_installed

from graphmesh_eval.hostile.server import MODEL, hostile_server

SETTING = "GRAPHMESH_MODEL_MODELS"
KEYS = "GRAPHMESH_MODEL_API_KEYS"
OFFLINE, SMALL, HOSTILE = "offline", "tiny", "hostile"


class ModelUnavailable(Exception):
    """A model cannot be used here; the message has the reason."""


@asynccontextmanager
async def model_settings(model: str, base_url: str = "", seed: int = 0) -> AsyncIterator[Mapping[str, str]]:
    """Yield the environment variables of the servers, while the model can be called.

    Args:
        model: `offline`, `tiny`, `hostile`, or `VENDOR:NAME`, whose key is a setting of the model service.

    Raises:
        ModelUnavailable: the packages of the model are missing.
    """
    if model == OFFLINE:
        yield _default({"model": OFFLINE})
    elif model == SMALL:
        try:
            require_installed("--model tiny")
        except BadSetting as error:
            raise ModelUnavailable(str(error)) from None
        yield _default({"model": TINY})
    elif model == HOSTILE:
        async with hostile_server(seed) as server:
            # The protocol wants a key; this one opens nothing.
            yield {**_default({"model": f"openai:{MODEL}", "base_url": server.url}), KEYS: '{"default": "none"}'}
    elif ":" in model:
        yield _default({"model": model, **({"base_url": base_url} if base_url else {})})
    else:
        raise ModelUnavailable(f"{model} is not a model: use offline, tiny, hostile, or VENDOR:NAME")


def _default(alias: Mapping[str, Any]) -> dict[str, str]:
    return {SETTING: json.dumps({"default": alias})}
