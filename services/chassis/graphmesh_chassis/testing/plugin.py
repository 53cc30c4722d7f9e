"""The pytest plug-in (entry point `graphmesh_chassis` in the group `pytest11`)."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Register the fixtures after those of every installed plug-in.

    Of two plug-ins that define a fixture, the one registered last wins. pytest loads installed plug-ins in the order in
    which the file system lists them, so that this module alone would override pytest-grpc on some machines only.
    """
    from graphmesh_chassis.testing import fixtures

    config.pluginmanager.register(fixtures, "graphmesh_chassis.testing.fixtures")
