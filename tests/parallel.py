"""The distribution of tests over several processes, each with backends of its own."""

from xdist.scheduler import LoadScopeScheduling

ONE_PROCESS_FOLDERS = ("tests/acceptance/", "tests/integration/support/")
"""Folders whose tests share fixtures that take long to start: each folder runs in one process."""


class FolderScheduling(LoadScopeScheduling):
    """A free worker takes the next test in the order of collection; the folders above are taken as a whole, first."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in ONE_PROCESS_FOLDERS if nodeid.startswith(folder)), nodeid)
