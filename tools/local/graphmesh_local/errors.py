"""The base of the errors that an operator of this machine meets."""


class LocalError(Exception):
    """A failure of a mesh on this machine; the message is one sentence, or a log's last lines, for its operator."""
