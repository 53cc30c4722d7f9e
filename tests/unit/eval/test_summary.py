"""The numbers of an evaluation, and when the command fails."""

from pathlib import Path

import pytest
from graphmesh_eval.books import Books, Changes, OpenedTicket, changes
from graphmesh_eval.cases import Case, DatasetError
from graphmesh_eval.command import agent_folder
from graphmesh_eval.conversation import Transcript
from graphmesh_eval.evaluation import Evaluation, Plan, Played
from graphmesh_eval.models import ModelUnavailable, model_settings
from graphmesh_eval.summary import as_json, summarize

from tests.unit.eval.situations import NOTHING, PAID, case, judged, ticket


def played(one: Case, own: Changes = NOTHING, seconds: float = 1.0) -> Played:
    return Played(one, 0, Transcript(run_ids=["run_1"], seconds=[seconds]), judged(one, own))


DUE = case(id="due", expected={"ticket": "legal/high"})
ANY = case(id="any", kind="adversarial", language="de", expected={"ticket": "any"})


def test_precision_counts_opened_tickets_and_recall_due_ones() -> None:
    cases = [played(DUE, ticket("legal", "high")), played(DUE), played(case(), ticket()), played(ANY, ticket())]
    numbers = summarize(Evaluation(cases, {}, {}), 0).groups["all"]
    assert (numbers.escalation_precision.value, numbers.escalation_precision.count) == (0.5, 2)
    assert (numbers.escalation_recall.value, numbers.escalation_recall.count) == (0.5, 2)


def test_numbers_are_of_all_of_each_kind_and_of_each_language() -> None:
    summary = summarize(Evaluation([played(case()), played(ANY, PAID, 3.0)], {}, {}), 0)
    assert list(summary.groups) == ["all", "plain", "adversarial", "de", "en"]
    assert summary.groups["adversarial"].wrong_money == 1
    assert summary.groups["all"].seconds_p95.value == 3


def test_wrong_money_fails_in_a_case_and_outside_of_the_cases() -> None:
    good = [played(case())]
    assert not summarize(Evaluation(good, {}, {}), 0).failed
    assert summarize(Evaluation([played(case(), PAID)], {}, {}), 0).failed
    assert summarize(Evaluation(good, {"cu_1007": PAID}, {}), 0).failed
    assert summarize(Evaluation(good, {}, {"EUR": 1}), 0).failed
    changed = summarize(Evaluation(good, {"cu_1007": Changes((), {"customer.tier": "vip"}, ())}, {}), 0)
    assert not changed.failed
    assert changed.outside == ("cu_1007: customer.tier",)


def test_the_json_has_each_case_with_its_runs_and_faults() -> None:
    evaluation = Evaluation([played(case(), PAID)], {}, {})
    [found] = as_json(evaluation, summarize(evaluation, 0), {"agent": "support"})["cases"]
    assert found["run_ids"] == ["run_1"]
    assert found["faults"] == [{"fault": "wrong money", "seen": "18.90 EUR instead of none"}]


def test_a_plan_plays_each_case_as_often_as_stated_in_the_order_of_its_seed() -> None:
    cases = [case(id=f"c{number}") for number in range(10)]
    plan = Plan("support", cases, repeat=2, seed=5)
    assert sorted(one.id for one, _ in plan.plays) == sorted([one.id for one in cases] * 2)
    assert plan.plays == Plan("support", cases, repeat=2, seed=5).plays != Plan("support", cases, 2, 6).plays
    assert len(Plan("support", cases, limit=3).plays) == 3


def test_a_new_ticket_is_no_changed_value() -> None:
    before = Books({}, {"T-1.queue": "normal", "customer.tier": "plus"}, {})
    opened = OpenedTicket("T-2", "legal", "high", "")
    after = Books({"re_1": ("EUR", 5)}, {"T-1.queue": "legal", "T-2.queue": "legal"}, {"T-2": opened})
    found = changes(before, after)
    assert found.values == {"T-1.queue": "legal", "customer.tier": ""}
    assert (found.money, found.tickets) == ("0.05 EUR", (opened,))


def test_the_folder_of_an_agent_is_that_of_its_module(tmp_path: Path) -> None:
    project = tmp_path / "langgraph.json"
    project.write_text('{"graphs": {"one": "./agents/one/graph.py:graph", "two": {"path": "./two.py:graph"}}}')
    assert agent_folder("one", project) == tmp_path / "agents/one"
    assert agent_folder("two", project) == tmp_path
    with pytest.raises(DatasetError, match="has no graph three"):
        agent_folder("three", project)
    with pytest.raises(DatasetError, match="run it where the agent's project is"):
        agent_folder("one", tmp_path / "absent.json")


async def test_a_model_is_known_or_of_a_vendor() -> None:
    async with model_settings("openai:gpt-5", "http://127.0.0.1:1/v1") as settings:
        assert "http://127.0.0.1:1/v1" in settings["GRAPHMESH_MODEL_MODELS"]
    with pytest.raises(ModelUnavailable, match="clever is not a model: use offline, tiny, hostile"):
        async with model_settings("clever"):
            pass
