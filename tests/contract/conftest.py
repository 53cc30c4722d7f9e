"""The stores that the suites of services run over."""

from pathlib import Path

import pytest


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; empty for the in-memory twin."""
    match request.param:
        case "memory":
            return ""
        case "sqlite":
            return f"sqlite+aiosqlite:///{tmp_path}/service.db"
        case _:
            return str(request.getfixturevalue("postgres_url"))
