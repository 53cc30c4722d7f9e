"""Benchmarks of the mesh, a plug-in of the `graphmesh` command."""
