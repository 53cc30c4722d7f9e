"""A server of each service of mesh.yaml in this process, on new SQLite databases."""

import importlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from graphmesh_chassis.testing import running
from graphmesh_mesh.topology import load

SERVICES = load(Path(__file__).parents[3] / "deploy/mesh.yaml").services

CLOSED_PORT = "127.0.0.1:9"
"""A receiver of webhooks that refuses each connection."""


@asynccontextmanager
async def serve(name: str, folder: Path, graphs: Mapping[str, str]) -> AsyncIterator[grpc.aio.Channel]:
    """Serve a service on a new SQLite database in `folder`, and open a plain channel to it.

    Args:
        graphs: the graphs of the orchestrator, as `langgraph.json` has them.
    """
    package = SERVICES[name].module
    settings_type = importlib.import_module(f"{package}.settings").Settings
    registry = folder / "langgraph.json"
    registry.write_text(json.dumps({"graphs": graphs}))
    values = {
        "database_url": f"sqlite+aiosqlite:///{folder}/service.db",
        "graphs": registry,
        "webhook_hosts": (CLOSED_PORT,),
        "webhook_secret": "whsec_" + "c2VjcmV0" * 5,
    }
    settings = settings_type(**{name: value for name, value in values.items() if name in settings_type.model_fields})
    build = importlib.import_module(f"{package}.__main__").build
    async with (
        build(settings) as servable,
        running(servable, settings) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        yield channel
