"""The order of what happens around a call."""

from graphmesh_chassis.admission import Admission
from graphmesh_chassis.hooks import hooks_of


def test_the_order_of_hooks() -> None:
    """The outermost first. The reasons stand beside each in `hooks_of`; who changes the order changes them too."""
    names = [getattr(hook, "__name__", "") for hook in hooks_of("open", Admission(1, 1))]
    assert names == ["telemetry", "errors", "identity", "approval", "deadline", "contract", "admitted", "effects"]
