"""Prints, as JSON, the values that each part of a mesh derives from billing's policies. Tests choose the contracts."""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

from graphmesh.billing.v1 import BillingService
from graphmesh_chassis.serve import Servable, Service, serving
from graphmesh_chassis.settings import ServerSettings
from graphmesh_mesh.envoy.clusters import cds
from graphmesh_mesh.envoy.routes import mesh_routes
from graphmesh_mesh.sample import MESH_FILE
from graphmesh_mesh.topology import Mesh, load
from graphmesh_nodes import tool_schemas
from graphmesh_nodes.context import Policies


def envoy(mesh: Mesh) -> Mapping[str, Any]:
    [cluster] = [one for one in cds(mesh)["resources"] if one["name"] == "billing"]
    [host] = mesh_routes(mesh)["virtual_hosts"]
    [charge] = [one["route"] for one in host["routes"] if one["match"].get("path") == BillingService.Charge.path]
    return {
        "guard": cluster["circuit_breakers"]["thresholds"][0]["max_requests"],
        "timeout": charge["max_stream_duration"]["max_stream_duration"],
    }


async def server() -> Mapping[str, Any]:
    service = Service(BillingService, lambda servicer, server: None, object())
    async with serving("billing", Servable([service]), ServerSettings()) as running:
        [admission] = running.admissions.values()
        return {"max_concurrency": admission.max_concurrency, "max_queue": admission.max_queue}


def main() -> None:
    found = {
        "envoy": envoy(load(MESH_FILE)),
        "remote node": {"timeout": Policies().of(BillingService.Charge).timeout},
        "server": asyncio.run(server()),
        "models": sorted(schema.name for schema in tool_schemas(BillingService)),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
