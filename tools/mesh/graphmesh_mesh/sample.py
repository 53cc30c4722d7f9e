"""The mesh of the sample shop, for folders that have no mesh of their own."""

from pathlib import Path

MESH_FILE = Path("deploy/mesh.yaml")


def default_mesh_file() -> Path:
    """Return the mesh file of the current folder; where it has none, that of the sample.

    A wheel contains the sample's; a development environment has it in its repository.
    """
    packaged = Path(__file__).with_name("mesh.yaml")
    repository = Path(__file__).parents[3] / MESH_FILE
    candidates = [MESH_FILE, packaged, repository]
    return next((candidate for candidate in candidates if candidate.exists()), MESH_FILE)
