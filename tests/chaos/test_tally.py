"""What a long trial keeps of its rounds."""

from datetime import UTC, datetime

from graphmesh_chaos.checker import Violation
from graphmesh_chaos.facts import Charge, Facts, Run
from graphmesh_chaos.faults import Injected
from graphmesh_chaos.schedule import Act, Fault
from graphmesh_chaos.tally import Tally
from graphmesh_chaos.trial import Verdict

FACTS = Facts(
    orders=[],
    runs=[Run("run-1", "request-1", "success", "ch-1", "T-1", last_seq=3, epoch=3)],
    events=[],
    invoices=[],
    charges=[Charge("ch-1", "INV-1", 500)],
    postings=[],
    tickets=[],
    effects=[],
    epochs=[],
    approvals=[],
    answers=[],
)


def a_round(*violations: Violation) -> Verdict:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    acts = (Act.KILL, Act.KILL, Act.STOP, Act.FREEZE)
    injected = [Injected(Fault(1, "billing", act, 1), moment, calls=number) for number, act in enumerate(acts)]
    injected.append(Injected(Fault(1, "orchestrator", Act.KILL, 1), moment, stopped=["run-1", "run-2"]))
    return Verdict(injected, FACTS, violations, recovery=[0.5])


def test_rounds_add_up() -> None:
    """Deaths are what was killed; who was asked to end has not died. A death of who did nothing hits nothing."""
    tally = Tally()
    tally.add(7, a_round())
    tally.add(8, a_round())
    assert (tally.deaths, tally.runs, tally.charges, tally.takeovers, tally.waits) == (6, 2, 2, 4, [0.5, 0.5])
    assert (tally.hits, tally.stopped, tally.calls) == (4, 4, 2)
    assert tally.faults == {
        "SIGKILL billing": 4,
        "SIGTERM billing": 2,
        "SIGSTOP billing": 2,
        "SIGKILL orchestrator": 2,
    }


def test_the_round_that_broke_something_is_named() -> None:
    """Its seed repeats it."""
    tally, violation = Tally(), Violation("charged_once", "run-1 charged twice")
    tally.add(7, a_round())
    tally.add(8, a_round(violation))
    assert (tally.seed, list(tally.violations)) == (8, [violation])
