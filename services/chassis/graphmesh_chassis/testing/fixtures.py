"""Fixtures that override pytest-grpc's, so that its `grpc_stub` calls a running server of the chassis.

A suite defines, with the scope `module` or a wider one:

- `grpc_servable`: an async context manager that yields the `Servable`, as `build(settings)` of each service returns it
- `grpc_stub_cls`: the generated stub class, as pytest-grpc defines it
- `grpc_settings`: the settings of the server, where the defaults do not do

The server listens on a real port, with every hook, in a thread with an event loop of its own. `grpc_channel` is a
synchronous channel with gRPC's default options. Suites without `grpc_servable` keep pytest-grpc's own fixtures.
"""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from graphmesh_chassis.serve import Servable
    from graphmesh_chassis.settings import ServerSettings

    Root = AbstractAsyncContextManager[Servable]


@pytest.fixture(scope="module")
def grpc_servable() -> "Root | None":
    """The composition root to serve; None leaves the module to pytest-grpc."""
    return None


@pytest.fixture(scope="module")
def grpc_settings() -> "ServerSettings":
    """The settings of the server; the defaults listen on a free port of 127.0.0.1."""
    from graphmesh_chassis.settings import ServerSettings

    return ServerSettings()


@pytest.fixture(scope="module")
def grpc_server(
    request: pytest.FixtureRequest, grpc_servable: "Root | None", grpc_settings: "ServerSettings"
) -> Iterator[Any]:
    """The `Running` server."""
    if grpc_servable is None:
        yield request.getfixturevalue("grpc_server")
        return
    from graphmesh_chassis.testing.background import serving_in_thread

    with serving_in_thread(grpc_servable, grpc_settings) as server:
        yield server


@pytest.fixture(scope="module")
def grpc_addr(request: pytest.FixtureRequest, grpc_servable: "Root | None") -> str:
    """The server's `host:port`."""
    if grpc_servable is None:
        return str(request.getfixturevalue("grpc_addr"))
    return str(request.getfixturevalue("grpc_server").address)


@pytest.fixture(scope="module")
def grpc_channel(request: pytest.FixtureRequest, grpc_servable: "Root | None") -> Iterator[Any]:
    """A synchronous `grpc.Channel` to the server."""
    if grpc_servable is None:
        yield request.getfixturevalue("grpc_channel")
        return
    import grpc

    # A proxy that the environment names is not for a server on this machine.
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(request.getfixturevalue("grpc_addr"), options) as channel:
        yield channel
