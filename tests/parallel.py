"""The distribution of tests over several processes, each with backends of its own."""

from xdist.scheduler import LoadScopeScheduling

ONE_PROCESS_FOLDERS = ("tests/acceptance/", "tests/integration/support/")
"""Folders whose tests share fixtures that take long to start: each folder runs in one process."""
ONE_PROCESS_MODULES = (
    "tests/integration/",
    "tests/contract/contracts/",
    "tests/chaos/test_sabotage.py",
    "tests/chaos/test_sessions.py",
)
"""Modules, and folders of modules, in which the tests share such fixtures: each module runs in one process."""


class SharedFixtureScheduling(LoadScopeScheduling):
    """A free worker takes the next folder, module or test as a whole: those with the most tests first."""

    def _split_scope(self, nodeid: str) -> str:
        for folder in ONE_PROCESS_FOLDERS:
            if nodeid.startswith(folder):
                return folder
        return nodeid.partition("::")[0] if nodeid.startswith(ONE_PROCESS_MODULES) else nodeid
