"""The topology of a mesh (mesh.yaml), and what is rendered from it."""
