"""The OpenAPI document of the JSON API at the edge, made from the contracts."""
