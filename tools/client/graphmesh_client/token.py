"""The token of a client's calls: a text, or a function that gets one, called again before it expires."""

import base64
import json
import os
import time
from collections.abc import Awaitable, Callable

TokenSource = str | Callable[[], Awaitable[str]]
TOKEN_VARIABLE = "GRAPHMESH_TOKEN"
"""The environment variable of the token of clients that are given none."""
REFRESH_SECONDS = 30.0
"""Seconds before the end of a token at which another one is requested."""


class Token:
    """The header `authorization` of each call; none where there is no token."""

    def __init__(self, source: TokenSource | None) -> None:
        self._source = os.environ.get(TOKEN_VARIABLE, "") if source is None else source
        self._token = ""
        self._renew_at = 0.0
        """By the wall clock, as the end of a token is."""

    async def headers(self) -> list[tuple[str, str]]:
        """Raises whatever the function of the token raises."""
        if isinstance(self._source, str):
            return _authorization(self._source)
        if time.time() >= self._renew_at:
            self._token = await self._source()
            self._renew_at = _end_of(self._token) - REFRESH_SECONDS
        return _authorization(self._token)


def _authorization(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")] if token else []


def _end_of(token: str) -> float:
    """Return the claim `exp`, unverified; 0 where the token has none that can be read, so that it is used once."""
    try:
        payload = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
    except (IndexError, ValueError, KeyError, TypeError):
        return 0.0
