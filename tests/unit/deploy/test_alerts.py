"""The rules of Prometheus: each name is one of the code, each alert has a runbook, and its commands exist."""

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from graphmesh_chassis.telemetry.metrics import Instrument, label_name, prometheus_name
from graphmesh_cli.app import commands
from graphmesh_cli.metric_table import instruments

DEPLOY = Path(__file__).parents[3] / "deploy"
RULES, TESTS = DEPLOY / "prometheus/rules.yaml", DEPLOY / "prometheus/rules_test.yaml"
METRIC = re.compile(r"\b((?:graphmesh|langgraph)_\w+)(?:\{([^}]*)\})?")
RECORDED = re.compile(r"\bgraphmesh:\w+:\w+")
SELECTED = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPED = re.compile(r"\bby \(([^)]*)\)")
COMMAND = re.compile(r"`graphmesh ([a-z-]+)([^`]*)`")
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def known() -> dict[str, Instrument]:
    """The instruments by the names of their samples."""
    return {prometheus_name(one) + suffix: one for one in instruments() for suffix in SUFFIXES[one.kind]}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule.get("record"))
def test_metrics_and_labels_are_those_of_the_code(rule: dict[str, Any]) -> None:
    """A misspelt name would make an alert silent."""
    instruments_by_name, recorded = known(), {one["record"] for one in rules() if "record" in one}
    grouped = {label.strip() for found in GROUPED.findall(rule["expr"]) for label in found.split(",")}
    used: set[str] = set()
    for name, selectors in METRIC.findall(GROUPED.sub("", rule["expr"])):
        labels = {label_name(attribute) for attribute in instruments_by_name[name].attributes} | {"le"}
        assert set(SELECTED.findall(selectors)) <= labels, name
        used |= labels
    assert grouped <= used
    assert set(RECORDED.findall(rule["expr"])) <= recorded


def test_bounds_of_buckets_exist() -> None:
    """A rule with a bound between two buckets would have no value."""
    bounds = {f"{float(bound)}" for one in instruments() for bound in one.buckets}
    for rule in rules():
        assert set(re.findall(r'le="([^"]+)"', rule["expr"])) <= bounds


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_alert_has_a_runbook_whose_commands_exist(alert: dict[str, Any]) -> None:
    runbook = DEPLOY.parent / alert["annotations"]["runbook"]
    assert runbook.stem == alert["alert"]
    text = runbook.read_text()
    used = COMMAND.findall(text)
    assert used
    for name, rest in used:
        assert name in commands(), name
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in help_of(name, rest), (name, option)


def help_of(name: str, rest: str) -> str:
    groups = [word for word in rest.split()[:1] if word in ("list", "retry", "show", "set")]
    return _help(name, *groups)


@cache
def _help(*words: str) -> str:
    command = [sys.executable, "-m", "graphmesh_cli", *words, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_every_runbook_is_of_an_alert() -> None:
    assert {path.stem for path in (DEPLOY / "runbooks").glob("*.md")} == {one["alert"] for one in alerts()}


def test_every_alert_is_tested_with_made_up_series() -> None:
    cases = yaml.safe_load(TESTS.read_text())["tests"]
    tested = [one for case in cases for one in case["alert_rule_test"]]
    names = {one["alert"] for one in alerts()}
    assert {one["alertname"] for one in tested if one.get("exp_alerts")} == names
    assert {one["alertname"] for one in tested if not one.get("exp_alerts")} == names


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_rules_hold_on_made_up_series() -> None:
    for command in (["check", "rules", RULES.name], ["test", "rules", TESTS.name]):
        done = subprocess.run(["promtool", *command], cwd=RULES.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
