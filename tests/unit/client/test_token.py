"""The token of a client: a text, a function that is called again before the end, or that of the environment."""

import json
import time
from pathlib import Path

import jwt
import pytest
from graphmesh_client.token import REFRESH_SECONDS, TOKEN_VARIABLE, Token, TokenSource

EDGE = "127.0.0.1:8080"
SECRET = "a secret of these tests, of 32 bytes at least"


def expiring(seconds: float) -> str:
    return jwt.encode({"exp": int(time.time() + seconds)}, SECRET, "HS256")


def token_of(source: TokenSource | None, target: str = EDGE, tenant: str = "default") -> Token:
    return Token(source, target, tenant)


class Source:
    """Issues tokens that live for so many seconds each."""

    def __init__(self, *lives: float) -> None:
        self.issued = [expiring(life) for life in lives]
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        return self.issued[self.calls - 1]


async def test_a_text_is_sent_as_it_is() -> None:
    assert await token_of("abc").headers() == [("authorization", "Bearer abc")]
    assert await token_of("").headers() == []


async def test_a_function_is_called_again_before_its_token_expires() -> None:
    """And not while the one that it gave is valid for longer than half a minute."""
    source = Source(REFRESH_SECONDS - 5, REFRESH_SECONDS + 60)
    token = token_of(source)
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

    token = token_of(opaque)
    assert [await token.headers() for _ in range(2)] == [
        [("authorization", "Bearer opaque-1")],
        [("authorization", "Bearer opaque-2")],
    ]


async def test_the_environment_has_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(TOKEN_VARIABLE, "from-there")
    assert await token_of(None).headers() == [("authorization", "Bearer from-there")]
    assert await token_of("given").headers() == [("authorization", "Bearer given")]
    monkeypatch.delenv(TOKEN_VARIABLE)
    assert await token_of(None).headers() == []


async def test_credentials_of_the_present_folder_are_the_last_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For their edge and their tenant alone, and read again before their token expires."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    file = tmp_path / ".graphmesh/credentials.json"
    file.parent.mkdir()

    def store(token: str) -> str:
        file.write_text(json.dumps({"edge": EDGE, "tenant": "default", "token": token}))
        return f"Bearer {token}"

    first = store(expiring(REFRESH_SECONDS - 5))
    token = token_of(None)
    assert await token.headers() == [("authorization", first)]
    assert await token_of(None, "localhost:8080").headers() == [("authorization", first)]
    assert await token_of(None, "127.0.0.1:9090").headers() == []
    assert await token_of(None, tenant="acme").headers() == []
    second = store(expiring(REFRESH_SECONDS + 60))
    assert await token.headers() == [("authorization", second)]
    for broken in ("{", "[]", '{"edge": 1}'):
        file.write_text(broken)
        assert await token_of(None).headers() == []
        assert await token.headers() == [("authorization", second)]
