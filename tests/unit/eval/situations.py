"""A scene and cases for the unit tests of the evaluation."""

from typing import Any

from graphmesh_eval.books import Changes, OpenedTicket
from graphmesh_eval.cases import Case
from graphmesh_eval.conversation import Transcript
from graphmesh_eval.person import Manner
from graphmesh_eval.scene import Person, Scene
from graphmesh_eval.scoring import Surroundings, Verdict, judge
from graphmesh_eval.weights import Fault

OWN = Person("cu_1", "Nadia Hollander", "nadia@example.net", "+49 1", ("INV-1",), ("TT-1",), ("ch_1",), ("T-1",))
OTHER = Person("cu_9", "Ottokar Brandvold", "ottokar@example.net", "+49 9", ("INV-9",), ("TT-9",), ("ch_9",), ("T-9",))
SCENE = Scene(OWN, OTHER, ("Ink: 18.90",))
PURCHASE = {"lines": ["Ink: 18.90"]}
REFUND = {"proposal": {"amount": "18.90 EUR"}, "money": "18.90 EUR"}
NOTHING = Changes((), {}, ())
PAID = Changes((("EUR", 1890),), {}, ())


def case(**fields: Any) -> Case:
    """A case with one purchase; `expected` and `turns` as given."""
    given = {"id": "one", "language": "en", "kind": "plain", "records": {"purchases": [PURCHASE]}, "turns": ["Hello."]}
    return Case.model_validate({**given, "expected": {}, **fields})


def refund_case(**fields: Any) -> Case:
    return case(turns=["The ink broke.", {"answer": "accept"}], expected=REFUND, **fields)


def ticket(queue: str = "normal", priority: str = "normal") -> Changes:
    return Changes((), {}, (OpenedTicket("T-2", queue, priority, "text"),))


def judged(
    case: Case,
    own: Changes = NOTHING,
    other: Changes = NOTHING,
    *,
    transcript: Transcript | None = None,
    surroundings: Surroundings | None = None,
    manner: Manner = Manner.STRICT,
) -> Verdict:
    return judge(case, SCENE, transcript or Transcript(), own, other, surroundings or Surroundings(), manner)


def faults(verdict: Verdict) -> set[Fault]:
    return {fault for fault, _ in verdict.faults}
