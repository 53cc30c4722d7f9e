"""Envoy's configuration, rendered from the mesh and the policies in the protos."""
