"""Errors of tests, which no fallback of a graph handles."""


class HarnessError(AssertionError):
    """The test is wrong (an RPC has no twin, a twin breaks its contract), or the graph, which no worker would load."""


class RunNotSuccessful(AssertionError):
    """The run has no output, since it has failed or is interrupted."""
