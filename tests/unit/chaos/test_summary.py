"""The sums over rounds."""

from datetime import UTC, datetime

from graphmesh_chaos.checker import Violation
from graphmesh_chaos.experiment import Result
from graphmesh_chaos.history import Charge, History, Run
from graphmesh_chaos.injector import InjectedFault
from graphmesh_chaos.schedule import Fault, FaultKind
from graphmesh_chaos.summary import Summary
from graphmesh_orchestrator.run_status import RunStatus

HISTORY = History(
    requests=[],
    runs=[Run("run-1", "request-1", RunStatus.SUCCESS, "ch-1", "T-1", last_seq=3, epoch=3)],
    events=[],
    invoices=[],
    charges=[Charge("ch-1", "INV-1", 500)],
    postings=[],
    entries=[],
    tickets=[],
    effects=[],
    epochs=[],
    approvals=[],
    answers=[],
)


def a_round(*violations: Violation) -> Result:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    kinds = (FaultKind.KILL, FaultKind.KILL, FaultKind.TERMINATE, FaultKind.FREEZE)
    injected = [InjectedFault(Fault(1, "billing", kind, 1), moment, calls=calls) for calls, kind in enumerate(kinds)]
    injected.append(InjectedFault(Fault(1, "orchestrator", FaultKind.KILL, 1), moment, run_ids=["run-1", "run-2"]))
    return Result(injected, HISTORY, violations, recovery=[0.5], takeover=[5.5])


def test_adds_rounds_up() -> None:
    """Only kills are deaths, a graceful shutdown is not; only kills with work in flight are at work."""
    summary = Summary()
    summary.add(7, a_round())
    summary.add(8, a_round())
    assert (summary.deaths, summary.runs, summary.charges, summary.takeovers) == (6, 2, 2, 4)
    assert summary.recovery == [0.5, 0.5]
    assert summary.takeover == [5.5, 5.5]
    assert (summary.deaths_at_work, summary.interrupted_runs, summary.interrupted_calls) == (4, 4, 2)
    assert summary.faults == {
        "SIGKILL billing": 4,
        "SIGTERM billing": 2,
        "SIGSTOP billing": 2,
        "SIGKILL orchestrator": 2,
    }


def test_names_the_seed_of_a_violation() -> None:
    """The seed repeats the round."""
    summary, violation = Summary(), Violation("charged_once", "run-1 charged twice")
    summary.add(7, a_round())
    summary.add(8, a_round(violation))
    assert (summary.seed, list(summary.violations)) == (8, [violation])
