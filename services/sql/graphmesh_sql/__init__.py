"""The sql service of the mesh."""
