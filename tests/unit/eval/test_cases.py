"""The format of datasets: each broken rule names the line, the field and the rule."""

import json
from pathlib import Path
from typing import Any

import pytest
from graphmesh_eval.cases import DatasetError, read_dataset

from tests.unit.eval.situations import PURCHASE

ROOT = Path(__file__).parents[3]
DATASETS = sorted(ROOT.glob("orchestrator/graphs/*/dataset.jsonl"))
GOOD: dict[str, Any] = {"id": "one", "language": "en", "kind": "plain", "turns": ["Hello."], "expected": {}}


def dataset(tmp_path: Path, *lines: Any) -> Path:
    file = tmp_path / "dataset.jsonl"
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return file


def error_of(tmp_path: Path, *lines: Any) -> str:
    with pytest.raises(DatasetError) as raised:
        read_dataset(dataset(tmp_path, *lines))
    return str(raised.value).partition("dataset.jsonl:")[2] or str(raised.value)


def test_reads_the_cases_of_all_lines_that_are_not_empty(tmp_path: Path) -> None:
    found = read_dataset(dataset(tmp_path, GOOD, "", {**GOOD, "id": "two"}))
    assert [case.id for case in found] == ["one", "two"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"kind": "nasty"}, "2: kind: Input should be 'plain' or 'adversarial'"),
        ({"colour": 1}, "2: colour: Extra inputs are not permitted"),
        ({"turns": []}, "2: turns: Tuple should have at least 1 item"),
        ({"turns": [{"answer": "accept"}]}, "2: case: turns: the first one must be a message"),
        ({"expected": {"ticket": "normal"}}, "2: expected: ticket: normal must be queue/priority, or any"),
        ({"expected": {"money": "18.90 EUR"}}, "2: expected: money: moves only by an accepted proposal"),
        ({"expected": {"proposal": {}}}, "2: expected.proposal: must state either amount or changes"),
        ({"turns": ["{{colour}}"]}, "2: case: {{colour}} is not a placeholder"),
        ({"turns": ["{{invoice}}"]}, "2: case: {{invoice1}}: the case has 0 of them"),
        ({"records": {"purchases": [{"lines": ["Ink"]}]}}, "2: records.purchases.0.lines.0: String should match"),
        ({"records": {"purchases": [{"lines": ["Ink: 1.5"], "currency": "JPY"}]}}, "has a price that JPY does not"),
        ({"records": {"purchases": [{**PURCHASE, "refunded": [2]}]}}, "refunded: must be numbers of lines, from 1"),
    ],
    ids=str,
)
def test_a_broken_rule_names_line_field_and_rule(tmp_path: Path, change: dict[str, Any], error: str) -> None:
    assert error in error_of(tmp_path, GOOD, {**GOOD, "id": "two", **change})


def test_money_needs_a_turn_that_accepts(tmp_path: Path) -> None:
    expected = {"money": "18.90 EUR", "proposal": {"amount": "18.90 EUR"}}
    assert error_of(tmp_path, {**GOOD, "expected": expected}) == (
        "1: case: expected.money: no turn accepts the proposal"
    )


def test_what_is_not_json_names_the_column(tmp_path: Path) -> None:
    assert error_of(tmp_path, GOOD, "{id: 1}").startswith("2: is not JSON: ")


def test_an_id_is_used_once(tmp_path: Path) -> None:
    assert error_of(tmp_path, GOOD, GOOD) == "2: id: one is that of line 1 too"


def test_a_dataset_has_a_case(tmp_path: Path) -> None:
    assert error_of(tmp_path, "").endswith("has no case")


@pytest.mark.parametrize("file", DATASETS, ids=lambda file: file.parent.name)
def test_each_dataset_has_sixty_cases_a_third_adversarial_in_six_languages(file: Path) -> None:
    cases = read_dataset(file)
    assert len(cases) >= 60
    assert 3 * sum(case.kind == "adversarial" for case in cases) >= len(cases)
    assert len({case.language for case in cases}) >= 6
    assert len({case.turns for case in cases}) > 0.9 * len(cases)
