"""The token of a client's calls: a text, or a function that gets one, called again before it expires."""

import base64
import json
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

TokenSource = str | Callable[[], Awaitable[str]]
TOKEN_VARIABLE = "GRAPHMESH_TOKEN"
"""The environment variable of the token of clients that are given none."""
CREDENTIALS = Path(".graphmesh/credentials.json")
"""The file of `graphmesh up` for clients in the same folder: `edge`, `tenant` and `token`, which it renews."""
REFRESH_SECONDS = 30.0
"""Seconds before the end of a token at which another one is requested."""
ABSENT_SECONDS = 1.0
"""Seconds between two reads of the credentials of a mesh that has none."""


class Token:
    """The header `authorization` of each call; none where there is no token.

    Args:
        source: None for the variable GRAPHMESH_TOKEN, and where it is not set for the credentials of the mesh that
            `graphmesh up` runs in the present folder.
        target: the edge as host:port. A token in a file is sent to the edge and for the tenant that the file names.
    """

    def __init__(self, source: TokenSource | None, target: str, tenant: str) -> None:
        if source is None:
            source = os.environ.get(TOKEN_VARIABLE) or partial(_stored_token, target, tenant)
        self._source = source
        self._token = ""
        self._renew_at = 0.0
        """By the wall clock, as the end of a token is."""

    async def headers(self) -> list[tuple[str, str]]:
        """Raises whatever the function of the token raises."""
        if isinstance(self._source, str):
            return _authorization(self._source)
        if time.time() >= self._renew_at:
            self._token = await self._source()
            self._renew_at = _end_of(self._token) - REFRESH_SECONDS if self._token else time.time() + ABSENT_SECONDS
        return _authorization(self._token)


async def _stored_token(target: str, tenant: str) -> str:
    """Return the token in the credentials; empty where they are of another edge or tenant, or cannot be read."""
    try:
        stored = json.loads(CREDENTIALS.read_bytes())
        is_its = (stored["edge"], stored["tenant"]) == (target.replace("localhost:", "127.0.0.1:"), tenant)
        return str(stored["token"]) if is_its else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _authorization(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")] if token else []


def _end_of(token: str) -> float:
    """Return the claim `exp`, unverified; 0 where the token has none that can be read, so that it is used once."""
    try:
        payload = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
    except (IndexError, ValueError, KeyError, TypeError):
        return 0.0
