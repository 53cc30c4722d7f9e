"""The distribution of tests over several processes, each with backends of its own."""

from xdist.scheduler import LoadScopeScheduling

ONE_PROCESS_FOLDERS = ("tests/acceptance/", "tests/chaos/", "tests/integration/support/")
"""Folders whose tests share fixtures that take long to start: each folder runs in one process. Experiments of chaos are
made of waiting and of bursts of many processes, which should meet tests that compute and not each other."""
ONE_PROCESS_MODULES = ("tests/integration/", "tests/contract/contracts/")
"""Folders in which the tests of a module share such fixtures: each module runs in one process."""


class SharedFixtureScheduling(LoadScopeScheduling):
    """A free worker takes the next folder, module or test as a whole: those with the most tests first."""

    def _split_scope(self, nodeid: str) -> str:
        for folder in ONE_PROCESS_FOLDERS:
            if nodeid.startswith(folder):
                return folder
        return nodeid.partition("::")[0] if nodeid.startswith(ONE_PROCESS_MODULES) else nodeid
