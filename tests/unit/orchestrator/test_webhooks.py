"""Who may be called, when again, and how it is signed (B3, G4)."""

import base64
from typing import Any

import pytest
from graphmesh_orchestrator.settings import Settings
from graphmesh_orchestrator.webhooks.delivery import HostPatterns, Tries, secret_bytes, signed_headers
from graphmesh_orchestrator.webhooks.dispatcher import host_of
from pydantic import ValidationError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def calling(**given: Any) -> Settings:
    return Settings(**{"webhook_hosts": ["hooks.example.com"], **given})


def test_the_signature_is_the_standards() -> None:
    """The example of the reference implementations of Standard Webhooks."""
    headers = signed_headers(secret_bytes(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(
    "secret", ["", "hunter2", "whsec_", "whsec_*", SECRET.removeprefix("whsec_"), "whsec_c2hvcnQ="]
)
def test_what_is_no_secret_is_refused_at_the_start(secret: str) -> None:
    """And not shown; without hosts none is needed."""
    with pytest.raises(ValidationError) as refused:
        calling(webhook_secret=secret)
    assert secret == "" or secret not in str(refused.value).replace("whsec_ and", "")
    assert calling(webhook_hosts=[]).webhook_key == b""


def test_the_secret_is_not_shown() -> None:
    settings = calling(webhook_secret=SECRET)
    assert SECRET.removeprefix("whsec_") not in repr(settings)
    assert settings.webhook_key == base64.b64decode(SECRET.removeprefix("whsec_"))


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://hooks.example.com/runs", True),
        ("http://hooks.example.com:80/", True),
        ("https://HOOKS.example.com:443", True),
        ("https://hooks.example.com:8443/", False),
        ("https://hooks.example.com.evil.org/", False),
        ("https://evil.org/hooks.example.com", False),
        ("https://evil.org#@hooks.example.com", False),
        ("https://user:password@hooks.example.com/", False),
        ("https://hooks.example.com@evil.org/", False),
        ("https://hooks.example.com\\@evil.org/", False),
        ("ftp://hooks.example.com/", False),
        ("https:///runs", False),
        ("hooks.example.com", False),
        ("https://[::1", False),
        ("https://a.example.org/", True),
        ("https://b.a.example.org/", True),
        ("https://example.org/", False),
        ("https://notexample.org/", False),
        ("http://127.0.0.1:8000/", True),
        ("http://127.0.0.1/", False),
        ("http://127.1:8000/", False),
    ],
)
def test_hosts(url: str, allowed: bool) -> None:
    patterns = HostPatterns(["hooks.example.com", "*.Example.org", "127.0.0.1:8000"])
    assert patterns.match(host_of(url)) is allowed


def test_no_pattern_allows_what_has_no_host() -> None:
    assert not HostPatterns([]).match("hooks.example.com")
    assert not HostPatterns(["*.example.com", ""]).match("hooks.example.org")


def test_waits_grow_and_differ() -> None:
    """From the first wait on, doubled, never longer than the longest, each cut short by up to a half."""
    tries = Tries(most=5, first_wait=10, longest_wait=60)
    for attempts, wait in ((1, 10), (2, 20), (3, 40), (4, 60), (1000, 60)):
        waits = {tries.wait(attempts) for _ in range(50)}
        assert all(wait / 2 <= one <= wait for one in waits)
        assert len(waits) > 1
    assert [tries.are_over(attempts) for attempts in (1, 4, 5)] == [False, False, True]
