"""The sums over the rounds of an invocation: numbers only, so that a long one needs no more memory."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from graphmesh_chaos.checker import Violation
from graphmesh_chaos.experiment import Result
from graphmesh_chaos.injector import InjectedFault
from graphmesh_chaos.schedule import FaultKind


@dataclass
class Summary:
    seed: int = 0
    """The seed of the last round."""
    faults: Counter[str] = field(default_factory=Counter)
    """By kind and target."""
    deaths: int = 0
    """Processes that were killed."""
    deaths_at_work: int = 0
    """Deaths that are known to have interrupted work."""
    interrupted_runs: int = 0
    """Runs that a killed orchestrator executed, once for each death."""
    interrupted_calls: int = 0
    """Calls in flight to a killed process."""
    runs: int = 0
    charges: int = 0
    tickets: int = 0
    approvals: int = 0
    answers: int = 0
    takeovers: int = 0
    operations: int = 0
    """Calls of the clients of sessions."""
    recovery: list[float] = field(default_factory=list)
    """Seconds that each run of a killed orchestrator made no progress."""
    takeover: list[float] = field(default_factory=list)
    """The same for the runs that were taken over from an orchestrator which was cut off from PostgreSQL."""
    violations: Sequence[Violation] = ()
    """The violations of the last round."""

    def add(self, seed: int, result: Result) -> None:
        """Count a round."""
        history = result.history
        self.seed, self.violations = seed, result.violations
        self.faults.update(f"{one.fault.kind} {one.fault.target}" for one in result.injected)
        self._add_deaths([one for one in result.injected if one.fault.kind is FaultKind.KILL])
        self.runs += len(history.runs)
        self.charges += len(history.charges)
        self.tickets += len(history.tickets)
        self.approvals += len(history.approvals)
        self.answers += len(history.answers)
        self.operations += len(history.observed.operations)
        self.takeovers += sum(run.epoch - 1 for run in history.runs)
        self.recovery += result.recovery
        self.takeover += result.takeover

    def _add_deaths(self, kills: Sequence[InjectedFault]) -> None:
        self.deaths += len(kills)
        self.deaths_at_work += sum(kill.interrupted_work for kill in kills)
        self.interrupted_runs += sum(len(kill.run_ids) for kill in kills)
        self.interrupted_calls += sum(kill.calls for kill in kills)
