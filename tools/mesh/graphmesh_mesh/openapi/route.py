"""The route of the edge to the OpenAPI document."""

from graphmesh_mesh.envoy.documents import Document, headers
from graphmesh_mesh.openapi.document import OPENAPI

OPENAPI_PATH = "/openapi.json"
"""Where the edge serves it."""
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
"""The largest document; Envoy's default is 4 KiB."""


def openapi_route(digest: str) -> Document:
    """Answer with the file beside the routes. Envoy reads it with them, and the digest changes them with the file."""
    is_get = {"name": ":method", "string_match": {"exact": "GET"}}
    return {
        "match": {"path": OPENAPI_PATH, "headers": [is_get]},
        "direct_response": {"status": 200, "body": {"filename": OPENAPI}},
        "response_headers_to_add": headers({"content-type": "application/json", "cache-control": "no-cache"}),
        "metadata": {"filter_metadata": {"graphmesh.openapi": {"digest": digest}}},
    }
