"""The `graphmesh` command."""
