"""The error of a topology."""


class MeshError(ValueError):
    """mesh.yaml, or a file that it includes, breaks a rule; the message names the file, the field and the rule."""
