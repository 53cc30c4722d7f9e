"""What came of the rounds so far: numbers, and never the rows that they are of."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from graphmesh_chaos.checker import Violation
from graphmesh_chaos.schedule import Act
from graphmesh_chaos.trial import Verdict


@dataclass
class Tally:
    seed: int = 0
    """Of the last round."""
    faults: Counter[str] = field(default_factory=Counter)
    """By what was done to whom."""
    deaths: int = 0
    """Processes that were killed."""
    hits: int = 0
    """Those of which it is known that they worked."""
    stopped: int = 0
    """Runs that were being executed by what was killed, each as often as that befell it."""
    calls: int = 0
    """Calls that were under way to what was killed."""
    runs: int = 0
    charges: int = 0
    tickets: int = 0
    approvals: int = 0
    answers: int = 0
    takeovers: int = 0
    waits: list[float] = field(default_factory=list)
    """Seconds for which runs stood still."""
    violations: Sequence[Violation] = ()
    """Of the last round."""

    def add(self, seed: int, verdict: Verdict) -> None:
        """Count a round."""
        facts = verdict.facts
        self.seed, self.violations = seed, verdict.violations
        self.faults.update(f"{one.fault.act} {one.fault.target}" for one in verdict.injected)
        deaths = [one for one in verdict.injected if one.fault.act is Act.KILL]
        self.deaths += len(deaths)
        self.hits += sum(one.hit for one in deaths)
        self.stopped += sum(len(one.stopped) for one in deaths)
        self.calls += sum(one.calls for one in deaths)
        self.runs += len(facts.runs)
        self.charges += len(facts.charges)
        self.tickets += len(facts.tickets)
        self.approvals += len(facts.approvals)
        self.answers += len(facts.answers)
        self.takeovers += sum(run.epoch - 1 for run in facts.runs)
        self.waits += verdict.recovery
