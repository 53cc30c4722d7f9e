"""The token of a client: a text, a function that is called again before the end, or that of the environment."""

import time

import jwt
import pytest
from graphmesh_client.token import REFRESH_SECONDS, TOKEN_VARIABLE, Token

SECRET = "a secret of these tests, of 32 bytes at least"


def expiring(seconds: float) -> str:
    return jwt.encode({"exp": int(time.time() + seconds)}, SECRET, "HS256")


class Source:
    """Issues tokens that live for so many seconds each."""

    def __init__(self, *lives: float) -> None:
        self.issued = [expiring(life) for life in lives]
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        return self.issued[self.calls - 1]


async def test_a_text_is_sent_as_it_is() -> None:
    assert await Token("abc").headers() == [("authorization", "Bearer abc")]
    assert await Token("").headers() == []


async def test_a_function_is_called_again_before_its_token_expires() -> None:
    """And not while the one that it gave is valid for longer than half a minute."""
    source = Source(REFRESH_SECONDS - 5, REFRESH_SECONDS + 60)
    token = Token(source)
    sent = [await token.headers() for _ in range(4)]
    assert source.calls == 2
    assert sent[0] != sent[1] == sent[2] == sent[3]


async def test_a_token_that_cannot_be_read_is_used_once() -> None:
    """The edge decides, and the next call gets another one."""
    calls = 0

    async def opaque() -> str:
        nonlocal calls
        calls += 1
        return f"opaque-{calls}"

    token = Token(opaque)
    assert [await token.headers() for _ in range(2)] == [
        [("authorization", "Bearer opaque-1")],
        [("authorization", "Bearer opaque-2")],
    ]


async def test_the_environment_has_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "from-there")
    assert await Token(None).headers() == [("authorization", "Bearer from-there")]
    assert await Token("given").headers() == [("authorization", "Bearer given")]
    monkeypatch.delenv(TOKEN_VARIABLE)
    assert await Token(None).headers() == []
