"""The synchronous client has all that the asynchronous one has."""

import asyncio
import gc
import inspect
from collections.abc import AsyncGenerator, Callable
from threading import Event, Thread

import pytest
from graphmesh.orchestrator.v1 import GetRunResponse, RunEvent, StreamRunResponse
from graphmesh_client import Client, SyncClient
from graphmesh_client.calls import Calls


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


def in_thread(call: Callable[[], object]) -> Thread:
    """Begin a call in a thread that does not keep the tests from ending."""
    thread = Thread(target=call, daemon=True)
    thread.start()
    return thread


def test_a_call_of_another_thread_ends_when_the_client_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, errors = Event(), list[str]()

    async def hang(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    def wait_for_run() -> None:
        try:
            client.get_run("run_1")
        except RuntimeError as error:
            errors.append(str(error))

    monkeypatch.setattr(Calls, "call", hang)
    client = SyncClient("127.0.0.1:1")
    waiting = in_thread(wait_for_run)
    assert begun.wait(60)
    client.close()
    waiting.join(60)
    assert errors == ["the client is closed"]


def test_an_iterator_may_be_collected_in_the_thread_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The garbage collector, which closes what is left in a cycle, runs in any thread."""

    async def collect(*_: object) -> GetRunResponse:
        gc.collect()
        return GetRunResponse()

    monkeypatch.setattr(Client, "_stream", Endless.stream)
    monkeypatch.setattr(Calls, "call", collect)
    client = SyncClient("127.0.0.1:1")
    closed = Endless.closed
    gc.disable()
    try:
        left: list[object] = [client.stream_run("run_1")]
        assert next(left[0]).seq == 1  # type: ignore[call-overload]
        left.append(left)
        del left
        calling = in_thread(lambda: client.get_run("run_1"))
        calling.join(60)
    finally:
        gc.enable()
    assert not calling.is_alive()
    client.close()
    assert Endless.closed == closed + 1


def test_an_address_is_checked_before_a_thread_is_started() -> None:
    with pytest.raises(ValueError, match="must be host:port"):
        SyncClient("nonsense")
