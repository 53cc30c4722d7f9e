"""The base of the errors that an operator of this machine meets."""


class LocalError(Exception):
    """What runs on this machine does not work; the message is one sentence, or a log's last lines, for its operator."""
