"""Runs a mesh and its backends on this machine."""
