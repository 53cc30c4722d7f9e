"""`graphmesh chaos` as people call it."""

import os
from pathlib import Path

import pytest
from graphmesh_cli.app import app
from typer.testing import CliRunner

pytestmark = pytest.mark.timeout(300)

SABOTAGE = Path(__file__).parent / "sabotage"


def chaos(state: Path, *options: str, **environment: str) -> tuple[int, str]:
    """The exit code of a trial of two runs, and its output without the breaks that the console's width makes."""
    arguments = ["--seed", "7", "--runs", "2", "--seconds", "1", "--orchestrators", "1", *options]
    done = CliRunner().invoke(app, ["chaos", *arguments, "--state", str(state)], env=environment)
    return done.exit_code, " ".join(done.output.split())


def test_a_sound_mesh(tmp_path: Path) -> None:
    """The verdict and exit code 0; the seed is told."""
    code, output = chaos(tmp_path / "state", "--faults", "0")
    assert code == 0, output
    assert "Seed 7" in output
    assert "every invariant holds" in output


def test_a_storm(tmp_path: Path) -> None:
    """So many deaths, and how many of them hit work; what recovery took is said with its reserve."""
    code, output = chaos(tmp_path / "state", "--storm", "--faults", "6")
    assert code == 0, output
    assert "6 deaths, " in output
    assert "the next one died as well" in output


def test_a_violation(tmp_path: Path) -> None:
    """Each violation, how to repeat it, and exit code 1."""
    path = os.pathsep.join(filter(None, [str(SABOTAGE / "forgetful_billing"), os.environ.get("PYTHONPATH", "")]))
    code, output = chaos(tmp_path / "state", "--faults", "0", PYTHONPATH=path)
    assert code == 1, output
    assert "effects_are_recorded" in output
    assert "--seed 7" in output
