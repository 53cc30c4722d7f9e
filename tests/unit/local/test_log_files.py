"""The log files of a mesh: read in the order of time, from the end, and across restarts."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from graphmesh_local import log_files as logs
from graphmesh_local.log_files import LogFile, UnknownProcess, last_lines, merged


def entry(second: int, text: str) -> str:
    return json.dumps({"event": text, "timestamp": f"2026-01-01T00:00:{second:02}.000000Z"}) + "\n"


def write(folder: Path, process: str, *lines: str) -> LogFile:
    path = folder / f"{process}.log"
    path.write_text("".join(lines))
    return LogFile(process, path)


def texts(lines: list[logs.LogLine]) -> list[str]:
    return [str((line.fields or {}).get("event", line.text)) for line in lines]


def test_lines_of_all_processes_are_in_the_order_of_time(tmp_path: Path) -> None:
    """A line without a time stays behind the line that precedes it in its file."""
    one = write(tmp_path, "one", entry(1, "a"), "a traceback\n", entry(4, "d"))
    envoy = write(tmp_path, "envoy", *(f"[2026-01-01 00:00:0{text}] {text}\n" for text in ("2.500", "3.000")))
    found = list(merged([one, envoy]))
    assert [text.rpartition("] ")[2] for text in texts(found)] == ["a", "a traceback", "2.500", "3.000", "d"]
    assert [line.process for line in found] == ["one", "one", "envoy", "envoy", "one"]


def test_lines_before_a_time_are_left_out(tmp_path: Path) -> None:
    one = write(tmp_path, "one", entry(1, "a"), entry(2, "b"))
    assert texts(list(merged([one], since=datetime(2026, 1, 1, 0, 0, 2, tzinfo=UTC)))) == ["b"]


def test_lines_that_contain_a_text_are_found_in_all_processes(tmp_path: Path) -> None:
    files = [write(tmp_path, name, entry(1, f"run_1 in {name}"), entry(2, "run_2")) for name in ("one", "two")]
    assert texts(list(merged(files, containing="run_1"))) == ["run_1 in one", "run_1 in two"]


@pytest.mark.parametrize("count", [1, 2, 5, 100])
def test_the_last_lines_are_read_from_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Whatever the size of the blocks."""
    monkeypatch.setattr(logs, "BLOCK_BYTES", 50)
    one = write(tmp_path, "one", *(entry(second, f"one {second}") for second in range(0, 40, 2)))
    two = write(tmp_path, "two", *(entry(second, f"two {second}") for second in range(1, 41, 2)))
    everything = [f"{('one', 'two')[second % 2]} {second}" for second in range(40)]
    assert texts(last_lines([one, two], count)) == everything[-count:]
    assert list(merged([one, two])) == []


def test_a_long_line_is_cut(tmp_path: Path) -> None:
    one = write(tmp_path, "one", "x" * 10_000_000 + "\n", entry(1, "next"))
    [long, following] = merged([one])
    assert len(long.text) == logs.MAX_LINE_BYTES + 1
    assert texts([following]) == ["next"]


def test_a_line_that_is_being_written_is_read_when_it_is_complete(tmp_path: Path) -> None:
    one = write(tmp_path, "one", entry(1, "a"), "half")
    assert texts(list(merged([one]))) == ["a"]
    with (tmp_path / "one.log").open("a") as file:
        file.write(" a line\n")
    assert texts(list(merged([one]))) == ["half a line"]


@pytest.mark.parametrize("way", ["rename", "truncate", "delete"])
def test_a_replaced_file_is_read_from_its_beginning(tmp_path: Path, way: str) -> None:
    one = write(tmp_path, "one", entry(1, "a"), entry(2, "b"))
    path = tmp_path / "one.log"
    assert texts(list(merged([one]))) == ["a", "b"]
    if way == "rename":
        path.rename(tmp_path / "one.log.1")
    if way == "delete":
        path.unlink()
        assert list(merged([one])) == []
    path.write_text(entry(3, "c"))
    assert texts(list(merged([one]))) == ["c"]


def test_a_service_is_named_for_all_its_replicas(tmp_path: Path) -> None:
    for name in ("billing-1", "billing-2", "envoy"):
        write(tmp_path, name)
    assert list(logs.log_files(tmp_path, ["billing"])) == ["billing-1", "billing-2"]
    assert list(logs.log_files(tmp_path, ["billing-2", "envoy"])) == ["billing-2", "envoy"]
    with pytest.raises(UnknownProcess, match="no process is called crm; there are: billing-1, billing-2, envoy"):
        logs.log_files(tmp_path, ["crm", "envoy"])


def test_a_folder_without_logs_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UnknownProcess, match="there are no logs"):
        logs.log_files(tmp_path / "nowhere")
