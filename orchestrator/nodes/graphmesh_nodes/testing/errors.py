"""Errors of tests, which no fallback of a graph handles."""


class HarnessError(AssertionError):
    """The test, and not the graph, is wrong: an RPC has no twin, or a twin breaks its contract."""


class RunNotSuccessful(AssertionError):
    """The run has no output, since it has failed or is interrupted."""
