"""The poll intervals of an orchestrator's background tasks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Intervals:
    """Seconds. Defaults are chosen for production; tests set long ones to prove that notifications do the work."""

    heartbeat: float = 1.0
    """Between two renewals of leases; a lease holds for five."""
    claim: float = 0.5
    """Between two polls for runs to claim that no notification announced."""
    idle: float = 5.0
    """Between two polls for due work while nothing is due: a notification may be lost."""
    status: float = 1.0
    """Between two polls of awaited runs while notifications of other processes do not arrive."""
    status_connected: float = 5.0
    """The same while they do."""
    store: float = 5.0
    """How long runs that are cut off at shutdown may take to store their last events."""
