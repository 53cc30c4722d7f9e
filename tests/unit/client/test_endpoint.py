"""Addresses of an orchestrator, as programs and people write them."""

import pytest
from graphmesh_client import Client
from graphmesh_client.endpoint import Endpoint


@pytest.mark.parametrize(
    ("address", "target", "tls"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080", False),
        ("edge.example.com:443", "edge.example.com:443", False),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", False),
        ("http://127.0.0.1:8080/", "127.0.0.1:8080", False),
        ("HTTP://localhost", "localhost:80", False),
        ("https://edge.example.com", "edge.example.com:443", True),
        ("https://edge.example.com:8443", "edge.example.com:8443", True),
        ("[::1]:8080", "[::1]:8080", False),
        ("http://[::1]:8080", "[::1]:8080", False),
    ],
)
def test_accepts_urls_and_host_with_port(address: str, target: str, tls: bool) -> None:
    assert Endpoint.parse(address) == Endpoint(target, tls)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost",
        ":8080",
        "::1:8080",
        "localhost:",
        "localhost:eighty",
        "localhost:0",
        "localhost:65536",
        "localhost:8080/v1",
        "http://localhost:8080/v1",
        "http://localhost:8080?tenant=a",
        "http://user:secret@localhost:8080",
        "http://",
        "grpc://localhost:8080",
        "localhost: 8080",
        "localhost:8080\n",
    ],
)
def test_refuses_other_forms_with_the_accepted_ones(address: str) -> None:
    with pytest.raises(ValueError, match="must be host:port, http://host:port or https://host"):
        Client(address)
