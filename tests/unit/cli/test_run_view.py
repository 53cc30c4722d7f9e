"""A line for each event of a run, whatever its mode."""

from io import StringIO

import pytest
from graphmesh.orchestrator import v1 as pb
from graphmesh_cli.commands.run_view import RunView, open_questions
from graphmesh_contracts import to_struct
from rich.console import Console

LEVELS = ["outer:1", "inner:2"]


def shown(*events: pb.RunEvent) -> list[str]:
    """Return the lines of a view of events."""
    written = StringIO()
    view = RunView(Console(file=written, width=200))
    for event in events:
        view.show(event)
    view.end_text()
    return written.getvalue().splitlines()


def chunk(content: str, kind: str = "AIMessageChunk") -> pb.RunEvent:
    message = pb.MessageStreamed(message=to_struct({"type": kind, "content": content}))
    return pb.RunEvent(node="talk", message=message)


def test_nodes_of_subgraphs_have_the_nodes_around_them() -> None:
    event = pb.RunEvent(node="step", namespace=LEVELS, node_finished=pb.NodeFinished())
    assert shown(event)[0].split() == ["outer/inner/step", "0.0", "ms"]


def test_decisions_state_what_and_why() -> None:
    lines = shown(
        pb.RunEvent(
            node="draft",
            route_taken=pb.RouteTaken(destinations=["a", "b"], looked_at={"reason": "", "amount": "5"}),
        ),
        pb.RunEvent(node="draft", validated=pb.Validated(check="answer")),
        pb.RunEvent(node="draft", validated=pb.Validated(check="answer", faults=["tone", "policy"])),
        pb.RunEvent(node="draft", escalated=pb.Escalated(reason="emergency", to="poison")),
    )
    assert [line.split(maxsplit=1)[1] for line in lines] == [
        '→ a, b  amount=5  reason=""',
        "✓ answer",
        "✗ answer: tone, policy",
        "escalated: emergency → poison",
    ]


@pytest.mark.parametrize("kind", ["custom", "values", "task", "checkpoint", "debug"])
def test_values_are_shown(kind: str) -> None:
    event = pb.RunEvent(namespace=LEVELS, **{kind: to_struct({"step": "one"})})  # type: ignore[arg-type]
    label = [] if kind == "custom" else [kind]
    assert shown(event)[0].split() == ["outer/inner", *label, '{"step":', '"one"}']


def test_values_that_are_not_shown_have_the_reason() -> None:
    event = pb.RunEvent(values=to_struct({}), not_shown="values.ratio: has to be a finite number")
    assert shown(event)[0].strip() == "values values.ratio: has to be a finite number"


def test_long_names_are_apart_from_what_follows() -> None:
    node, tool = "a_node_with_a_long_name", "a_service.WithAMethodOfALongName"
    parked = pb.Run(run_id="run_1", interrupts=[pb.Interrupt(node=node, interrupt_id="i")])
    parked.interrupts[0].value.string_value = "How old?"
    lines = shown(
        pb.RunEvent(node=node, text_delta=pb.TextDelta(text="good day")),
        pb.RunEvent(node=node, tool_called=pb.ToolCalled(tool=tool)),
        pb.RunEvent(node=node, custom=to_struct({"a": 1})),
    )
    question, _ = open_questions(parked, lambda *words: "")
    assert [line.split()[:2] for line in (*lines, question.plain)] == [
        [node, "“good"],
        [node, tool],
        [node, '{"a":'],
        [node, "How"],
    ]


def test_questions_are_shown_with_what_is_proposed() -> None:
    parked = pb.Run(run_id="run_1", interrupts=[pb.Interrupt(node="confirm", interrupt_id="i")])
    value = {"question": "Refund 18.90 EUR?", "error": "answer.accept: must be a boolean", "proposal": {"id": "ab"}}
    parked.interrupts[0].value.struct_value.CopyFrom(to_struct(value))
    question, proposal, command = open_questions(parked, lambda *words: " ".join(words))
    assert question.plain.split(maxsplit=1) == ["confirm", "answer.accept: must be a boolean: Refund 18.90 EUR?"]
    assert proposal.plain.strip() == '{"proposal": {"id": "ab"}}'
    assert command.plain.strip() == "resume run_1 ANSWER"


def test_parts_of_messages_are_text() -> None:
    lines = shown(chunk("good "), chunk("day"), chunk("by hand", "ai"))
    assert lines[0].split() == ["talk", "“good", "day”"]
    assert "message" in lines[1]


def test_error_of_a_run_is_shown() -> None:
    changed = pb.StatusChanged(status=pb.RunStatus.RUN_STATUS_ERROR)
    changed.error.message = "no"
    assert shown(pb.RunEvent(status_changed=changed))[0].strip() == "no"
