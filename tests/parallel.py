"""How tests are spread over several processes, each with backends of its own."""

from xdist.scheduler import LoadScopeScheduling

TOGETHER = ("tests/acceptance/", "tests/integration/support/")
"""Folders whose tests share what takes long to start: all run in one process."""


class Spread(LoadScopeScheduling):
    """Whoever is free takes the next test, in the order in which they were collected, after those that go together."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid)
