"""`graphmesh chaos` on the command line."""

from pathlib import Path

import pytest
from graphmesh_cli.app import app
from typer.testing import CliRunner

from tests.chaos.sabotage.settings import sabotage_settings

pytestmark = pytest.mark.timeout(600)


def chaos(state: Path, *options: str, **environment: str) -> tuple[int, str]:
    """The exit code of a round of two runs, and its output without the line breaks of the console's width."""
    arguments = ["--seed", "7", "--runs", "2", "--seconds", "1", "--orchestrators", "1", *options]
    done = CliRunner().invoke(app, ["chaos", *arguments, "--state", str(state)], env=environment)
    return done.exit_code, " ".join(done.output.split())


def test_exits_with_0_if_every_invariant_holds(tmp_path: Path) -> None:
    """The output states the seed."""
    code, output = chaos(tmp_path / "state", "--faults", "0")
    assert code == 0, output
    assert "Seed 7" in output
    assert "every invariant holds" in output


def test_storm_injects_only_kills(tmp_path: Path) -> None:
    """The output states the deaths, and a note on the time of recovery."""
    code, output = chaos(tmp_path / "state", "--storm", "--faults", "6")
    assert code == 0, output
    assert "6 deaths, " in output
    assert "the next orchestrator was often killed too" in output


def test_exits_with_1_at_a_violation(tmp_path: Path) -> None:
    """The output states the invariant, and the seed that repeats the faults."""
    settings = sabotage_settings("billing_without_effect_rows")
    code, output = chaos(tmp_path / "state", "--faults", "0", **settings)
    assert code == 1, output
    assert "effects_are_recorded" in output
    assert "--seed 7" in output
