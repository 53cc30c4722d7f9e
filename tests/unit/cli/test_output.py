"""Tables, JSON lines and short ids."""

import json
import re
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from graphmesh.orchestrator.v1 import Run
from graphmesh_cli.commands import short_ids
from graphmesh_cli.commands.audit_entry import Entry
from graphmesh_cli.commands.output import console, print_json_line, show_list
from graphmesh_cli.failures import Failure
from graphmesh_client import Client
from rich.text import Text

RUNS = [
    Run(run_id=f"run_{number:08x}" + "0" * 24, graph="a_graph_with_a_long_name", request_id="two words")
    for number in (0x1234ABCD, 0x1234ABCE, 0xFFFFFFFF)
]
COLUMNS = {
    "run": lambda one: one.run_id,
    "graph": lambda one: one.graph,
    "begun": lambda one: "2026-01-31 12:00:00",
    "status": lambda one: one.request_id,
}


def listed(capsys: pytest.CaptureFixture[str], found: Sequence[Run], as_json: bool = False) -> list[str]:
    show_list(found, COLUMNS, ids=["run"], empty="no runs", as_json=as_json)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", [60, 70, 80])
def test_ids_are_shortened_together_and_not_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """Each is a beginning that no other id of the table has."""
    monkeypatch.setenv("COLUMNS", str(width))
    lines = listed(capsys, RUNS)
    shown = [line.split()[0] for line in lines[1:] if line.startswith("run_")]
    assert len(set(shown)) == len(RUNS)
    assert all(run.run_id.startswith(short) for run, short in zip(RUNS, shown, strict=True))
    assert max(map(len, lines)) <= width


def test_a_pipe_gets_whole_ids_and_one_line_for_each_item(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = listed(capsys, RUNS)
    assert [line.split()[0] for line in lines] == ["run", *(run.run_id for run in RUNS)]
    assert all(line.endswith("two words") for line in lines[1:])
    assert [line.rstrip() for line in lines] == lines


def test_an_empty_list_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys, []) == ["no runs"]
    assert listed(capsys, [], as_json=True) == []


def test_json_has_all_fields_in_a_stable_order(capsys: pytest.CaptureFixture[str]) -> None:
    print_json_line(Run(run_id="b", last_seq=3))
    print_json_line(Run(run_id="a"))
    first, second = (list(json.loads(line)) for line in capsys.readouterr().out.splitlines())
    assert first == second == sorted(first)


HOSTILE = "a\x1b[31mb\x07\x9b2Jc\u202ed\x7f"
"""A text that would colour, clear and reverse a terminal."""


@pytest.mark.parametrize(
    "make",
    [str, Text, lambda text: Text.assemble(("node ", "bold"), (text, "dim"))],
    ids=["str", "text", "assembled"],
)
def test_control_characters_do_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str], make: Callable[[str], str | Text]
) -> None:
    """Whatever is printed, also in a table and as an error; JSON has them escaped, and tabs and line ends are kept."""
    console().print(make(f"{HOSTILE}\n"), soft_wrap=True)
    show_list([HOSTILE], {"text": make}, empty="")
    Failure(HOSTILE, advice=HOSTILE).show(as_json=False)
    Failure(HOSTILE).show(as_json=True)
    print_json_line({"text": HOSTILE})
    shown = capsys.readouterr()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown.out + shown.err)
    assert json.loads(shown.out.splitlines()[-1]) == {"text": HOSTILE}


def test_a_detail_of_the_audit_log_is_no_further_row() -> None:
    fields: dict[str, Any] = dict.fromkeys(Entry.__dataclass_fields__, "")
    entry = Entry(**{**fields, "result": "OK", "detail": "a\nb", "calls": 1})
    assert entry.outcome == "OK a\\nb"


def client_with(*ids: str) -> Client:
    """Return a client of a mesh with runs of these ids."""

    async def list_runs(run_id_prefix: str, limit: int) -> list[Run]:
        return [Run(run_id=one) for one in ids if one.startswith(run_id_prefix)][:limit]

    return cast(Client, SimpleNamespace(list_runs=list_runs))


A, B = "run_abcd" + "1" * 28, "run_abce" + "2" * 28


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("run_abcd", A),
        ("abcd1", A),
        (B, B),
        ("run_" + "9" * 32, "run_" + "9" * 32),
        ("run_ffff", "run_ffff"),
        ("run_abc", "run_abc"),
        ("my.run", "my.run"),
        ("", ""),
    ],
)
async def test_a_unique_beginning_names_a_run(given: str, expected: str) -> None:
    """One that no run has, or that is too short, is taken as the id: the mesh reports that it does not exist."""
    assert await short_ids.run_id(client_with(A, B), given) == expected


async def test_an_ambiguous_beginning_is_refused_with_the_candidates() -> None:
    with pytest.raises(Failure, match=rf"abcd is the beginning of several ids: {A}, run_abcd2") as refusal:
        await short_ids.run_id(client_with(A, "run_abcd2" + "0" * 27), "abcd")
    assert refusal.value.exit_code == 2
    many = [f"run_abcd{number:028x}" for number in range(20)]
    with pytest.raises(Failure, match=r", and more$"):
        await short_ids.run_id(client_with(*many), "abcd")
