"""The Python client of the orchestrator.

async with Client("127.0.0.1:8080") as client:
    run = await client.create_run("support", {"customer_id": "cu_1", "message": "Where is my parcel?"})
    async for event in client.stream_run(run.run_id):
        ...
"""

from graphmesh_client.client import Client

__all__ = ["Client"]
