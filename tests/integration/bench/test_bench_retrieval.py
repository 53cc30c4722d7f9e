"""`graphmesh bench retrieval` with the smallest parameters. Its numbers are not asserted."""

import json
from pathlib import Path

import pytest
from graphmesh_bench.retrieval import command
from graphmesh_bench.retrieval.speed import measure_speed

QUESTIONS = [
    {"id": "pens", "title": "Pens", "text": "Fountain pens need ink."},
    {"id": "parcels", "title": "Parcels", "text": "Parcels leave within a day."},
    {"question": "Which pens need ink?", "relevant": ["pens"]},
]


async def test_speed_of_a_new_database_is_measured_beside_its_own_search() -> None:
    stages: list[str] = []
    result = await measure_speed("sqlite", 30, 3, stages.append)
    assert result.plain is not None
    for times in (result.search, result.plain):
        assert (len(times.milliseconds), times.found, times.failed) == (3, 3, 0)
    assert result.ingested_per_second > 0
    assert any(stage.startswith("30 passages ingested") for stage in stages)


async def test_given_database_is_kept_and_gets_missing_passages_only(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/retrieval.db"
    first = await measure_speed(url, 20, 1, lambda _: None)
    again = await measure_speed(url, 20, 1, lambda _: None)
    stages: list[str] = []
    more = await measure_speed(url, 40, 1, stages.append)
    assert (first.ingested_per_second > 0, again.ingested_per_second, more.search.found) == (True, 0.0, 1)
    assert any(stage.startswith("24 passages ingested") for stage in stages), "document 2 of 20 passages has grown"
    assert {first.database, first.plain} == {"sqlite", None}


def test_report_has_a_row_for_each_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main([f"sqlite+aiosqlite:///{tmp_path}/retrieval.db"], 10, 1)
    questions = tmp_path / "pens.jsonl"
    questions.write_text("\n".join(map(json.dumps, QUESTIONS)), encoding="utf-8")
    command.show_quality([questions], "")
    printed = capsys.readouterr().out
    assert "10 passages, 1 queries" in printed
    rows = [line.split("│")[1:3] for line in printed.splitlines() if line.startswith("│ pens")]
    assert [[cell.strip() for cell in row] for row in rows] == [["pens", "FTS5"], ["pens", "retrieval, text"]]
