"""The section `telemetry` of mesh.yaml: where the spans of the mesh go, and how many calls are traced."""

from typing import Annotated

from pydantic import Field

from graphmesh_mesh.service import Listener, Model


class Telemetry(Model):
    """A collector that takes OTLP over gRPC."""

    collector: Listener | None = None
    """Its address. None: `graphmesh up` starts a receiver of its own."""
    traces: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The share of calls of clients that are traced, unless their `traceparent` has the decision."""
    headers: Annotated[str, Field(pattern=r"^([a-z0-9-]+=[^,=\s]+(,[a-z0-9-]+=[^,=\s]+)*)?$")] = ""
    """The headers of exports, as `name=value,name=value`: what the collector knows the mesh by."""

    @property
    def header_pairs(self) -> list[tuple[str, str]]:
        return [(name, value) for name, _, value in (one.partition("=") for one in self.headers.split(",") if one)]
