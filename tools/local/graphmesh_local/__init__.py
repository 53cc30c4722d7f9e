"""A mesh and its backends as processes on this machine."""
