"""A policy is declared once, in the proto: one edit there changes Envoy, client, server and the tools of models."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROTOS = Path("protos")
BILLING = Path("graphmesh/billing/v1/billing.proto")
READER = Path(__file__).with_name("policy_reader.py")


def edited(text: str) -> str:
    """billing.proto with another concurrency limit, another timeout of Charge, and with Charge visible to models."""
    head, rpc, rest = text.partition("rpc Charge(")
    assert "max_concurrency: 16" in head
    charge, end, others = rest.partition("approval: APPROVAL_NOT_REQUIRED")
    assert "timeout: {seconds: 5}" in charge
    head = head.replace("max_concurrency: 16", "max_concurrency: 3")
    charge = charge.replace("timeout: {seconds: 5}", "timeout: {seconds: 7}")
    return "".join([head, rpc, charge, end, "\n      llm_visibility: LLM_VISIBILITY_VISIBLE", others])


def read(gen: Path) -> dict[str, Any]:
    """The values that the parts of a mesh derive from the contracts in `gen`."""
    path = os.pathsep.join(filter(None, [str(gen), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    ended = subprocess.run([sys.executable, "-P", str(READER)], env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.fixture
def gen(tmp_path: Path) -> Path:
    """Code generated from protos in which one value of each kind was edited."""
    protos, gen = tmp_path / "protos", tmp_path / "gen"
    shutil.copytree(PROTOS / "graphmesh", protos / "graphmesh")
    billing = protos / BILLING
    billing.write_text(edited(billing.read_text()))
    arguments = ["--protos", str(protos), "--out", str(gen)]
    subprocess.run([sys.executable, str(PROTOS / "generate.py"), *arguments], check=True)
    return gen


def test_edit_of_the_proto_changes_every_part(gen: Path) -> None:
    """Envoy's circuit breaker and deadline, the remote node's timeout, the server's admission, the tools of models."""
    before, after = read(PROTOS / "gen"), read(gen)
    assert (before["server"]["max_concurrency"], after["server"]["max_concurrency"]) == (16, 3)
    assert after["envoy"]["guard"] == before["envoy"]["guard"] - 13
    assert (before["envoy"]["timeout"], after["envoy"]["timeout"]) == ("5s", "7s")
    assert (before["remote node"]["timeout"], after["remote node"]["timeout"]) == (5, 7)
    assert set(after["models"]) - set(before["models"]) == {"billing_Charge"}


def test_effect_that_streams_is_refused(tmp_path: Path) -> None:
    """Nothing is generated from such protos: a repeat returns the one response that is stored under its key."""
    protos, gen = tmp_path / "protos", tmp_path / "gen"
    shutil.copytree(PROTOS / "graphmesh", protos / "graphmesh")
    billing = protos / BILLING
    streaming = billing.read_text().replace("returns (ChargeResponse)", "returns (stream ChargeResponse)")
    billing.write_text(streaming)
    arguments = [sys.executable, str(PROTOS / "generate.py"), "--protos", str(protos), "--out", str(gen)]
    ended = subprocess.run(arguments, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    found = r"billing\.proto:\d+: graphmesh\.billing\.v1\.BillingService\.Charge is an effect and streams"
    assert re.search(found, ended.stderr)
    assert not gen.exists()
