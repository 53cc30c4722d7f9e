"""The order of the hooks around a call."""

from graphmesh_chassis.admission import Admission
from graphmesh_chassis.hooks import hooks_of


def test_order_of_hooks() -> None:
    """Outermost first. `hooks_of` gives the reason of each position; a change of the order changes the reasons."""
    names = [getattr(hook, "__name__", "") for hook in hooks_of("open", Admission(1, 1))]
    assert names == [
        "telemetry",
        "errors",
        "refused",
        "identity",
        "approval",
        "deadline",
        "contract",
        "approved",
        "bound",
        "admitted",
        "effects",
    ]
