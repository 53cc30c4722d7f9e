"""Which addresses webhooks may be sent to, and the announcement of a run's end to one."""

import pytest
from graphmesh_orchestrator.errors import WebhookNotAllowed
from graphmesh_orchestrator.webhooks.delivery import HostPatterns
from graphmesh_orchestrator.webhooks.receivers import Receivers, announcement, host_of

from tests.contract.runs import NOW, a_run


@pytest.mark.parametrize(
    ("url", "is_allowed"),
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
def test_only_matching_hosts_are_allowed(url: str, is_allowed: bool) -> None:
    patterns = HostPatterns(["hooks.example.com", "*.Example.org", "127.0.0.1:8000"])
    assert patterns.match(host_of(url)) is is_allowed


def test_no_pattern_matches_an_address_without_a_host() -> None:
    assert not HostPatterns([]).match("hooks.example.com")
    assert not HostPatterns(["*.example.com", ""]).match("hooks.example.org")


def test_refused_receiver_is_named() -> None:
    receivers = Receivers(HostPatterns(["hooks.example.com"]), b"")
    receivers.require("https://hooks.example.com/runs")
    with pytest.raises(WebhookNotAllowed, match=r"evil\.org"):
        receivers.require("https://evil.org/runs")


def test_announcement_is_due_at_once() -> None:
    run = a_run(webhook_url="https://hooks.example.com/runs").with_state(ended=NOW)
    delivery = announcement(run)
    assert (delivery.run_id, delivery.tenant, delivery.created, delivery.next_attempt) == ("run_1", "acme", NOW, 0)
    assert (delivery.url, delivery.host) == ("https://hooks.example.com/runs", "hooks.example.com")
    assert delivery.delivery_id != announcement(run).delivery_id
