"""The synchronous client has all that the asynchronous one has."""

import inspect
from collections.abc import AsyncGenerator

import pytest
from graphmesh.orchestrator.v1 import RunEvent, StreamRunResponse
from graphmesh_client import Client, SyncClient


def public(instance: object) -> set[str]:
    return {name for name in dir(instance) if not name.startswith("_")}


def test_every_method_has_a_twin() -> None:
    """Of the client, and of each of its resources."""
    client = Client("127.0.0.1:1")
    with SyncClient("127.0.0.1:1") as twin:
        assert public(twin) - {"close"} == public(client) - {"aclose"}
        for name in ("threads", "store", "assistants", "schedules", "approvals", "deliveries"):
            ours, its = getattr(twin, name), getattr(client, name)
            assert public(ours) == public(its)
            for method in public(its):
                assert inspect.signature(getattr(ours, method)) == inspect.signature(getattr(its, method))


class Endless:
    """A stream of events that does not end."""

    closed = 0

    @classmethod
    async def stream(cls, *_: object) -> AsyncGenerator[StreamRunResponse, None]:
        try:
            for number in range(1, 1_000_000):
                yield StreamRunResponse(event=RunEvent(seq=number))
        finally:
            cls.closed += 1


def test_a_stream_that_is_left_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with SyncClient("127.0.0.1:1") as client:
        monkeypatch.setattr(Client, "_stream", Endless.stream)
        for event in client.stream_run("run_1"):
            assert event.seq == 1
            break
        assert Endless.closed == 1


def test_a_closed_client_is_refused() -> None:
    client = SyncClient("127.0.0.1:1")
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.get_run("run_1")


def test_an_address_is_checked_before_a_thread_is_started() -> None:
    with pytest.raises(ValueError, match="must be host:port"):
        SyncClient("nonsense")
