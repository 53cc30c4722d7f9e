"""How webhooks are signed, and when failed deliveries are attempted again."""

import base64
from typing import Any

import pytest
from graphmesh_orchestrator.settings import Settings
from graphmesh_orchestrator.webhooks.delivery import RetryPolicy, secret_bytes, signed_headers
from pydantic import ValidationError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def with_webhooks(**fields: Any) -> Settings:
    return Settings(**{"webhook_hosts": ["hooks.example.com"], **fields})


def test_signature_is_that_of_standard_webhooks() -> None:
    """The example of its reference implementations."""
    headers = signed_headers(secret_bytes(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(
    "secret", ["", "hunter2", "whsec_", "whsec_*", SECRET.removeprefix("whsec_"), "whsec_c2hvcnQ="]
)
def test_invalid_secret_is_refused_at_start(secret: str) -> None:
    """And not shown. Without hosts no secret is needed."""
    with pytest.raises(ValidationError) as refused:
        with_webhooks(webhook_secret=secret)
    assert secret == "" or secret not in str(refused.value).replace("whsec_ and", "")
    assert with_webhooks(webhook_hosts=[]).webhook_key == b""


def test_secret_is_not_shown() -> None:
    settings = with_webhooks(webhook_secret=SECRET)
    assert SECRET.removeprefix("whsec_") not in repr(settings)
    assert settings.webhook_key == base64.b64decode(SECRET.removeprefix("whsec_"))


def test_backoff_grows_with_jitter() -> None:
    """It is doubled from the first one on, up to the maximum, and each is shortened by up to a half."""
    policy = RetryPolicy(max_attempts=2000, first_backoff=10, max_backoff=60)
    for attempts, longest in ((1, 10), (2, 20), (3, 40), (4, 60), (1000, 60)):
        backoffs = {policy.backoff(attempts) for _ in range(50)}
        assert all(backoff is not None and longest / 2 <= backoff <= longest for backoff in backoffs)
        assert len(backoffs) > 1


def test_last_attempt_has_no_backoff() -> None:
    policy = RetryPolicy(max_attempts=5)
    assert [policy.backoff(attempts) is None for attempts in (1, 4, 5)] == [False, False, True]
