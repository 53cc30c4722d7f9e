"""The numbers of an evaluation: of all cases, of a kind, of a language."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from graphmesh_eval.evaluation import Evaluation, Played
from graphmesh_eval.statistics import Estimate, mean, percentile, share
from graphmesh_eval.weights import WEIGHTS, Fault


@dataclass(frozen=True)
class Numbers:
    """The measures of some cases."""

    success: Estimate
    """The share of cases without any fault."""
    wrong_actions: Estimate
    """The share of cases with one."""
    wrong_money: int
    """Cases in which money moved that should not have."""
    weight: Estimate
    """The mean of the weights of a case's faults."""
    escalation_precision: Estimate
    """Of the tickets that were opened, those that were due, with the right queue and priority."""
    escalation_recall: Estimate
    """Of the tickets that were due, those that were opened, with the right queue and priority."""
    grounded: Estimate
    tokens: Estimate
    """Of a case."""
    cost_micro_usd: Estimate
    seconds_p50: Estimate
    """Of the times that a person has waited."""
    seconds_p95: Estimate


def numbers_of(played: Sequence[Played], seed: int) -> Numbers:
    verdicts = [one.verdict for one in played]
    decided = [one for one in verdicts if one.escalation_expected is not None]
    opened = [one for one in decided if one.escalated]
    due = [one for one in decided if one.escalation_expected]
    grounded = [one.grounded for one in verdicts if one.grounded is not None]
    seconds = [second for one in played for second in one.transcript.seconds]
    return Numbers(
        success=share(sum(one.success for one in verdicts), len(verdicts)),
        wrong_actions=share(sum(one.wrong_action for one in verdicts), len(verdicts)),
        wrong_money=sum(one.has(Fault.WRONG_MONEY) for one in verdicts),
        weight=mean([one.weight for one in verdicts], seed),
        escalation_precision=share(sum(one.escalation_right for one in opened), len(opened)),
        escalation_recall=share(sum(one.escalation_right for one in due), len(due)),
        grounded=share(sum(grounded), len(grounded)),
        tokens=mean([one.transcript.tokens for one in played], seed),
        cost_micro_usd=mean([one.transcript.cost_micro_usd for one in played], seed),
        seconds_p50=percentile(seconds, 0.5, seed),
        seconds_p95=percentile(seconds, 0.95, seed),
    )


@dataclass(frozen=True)
class Summary:
    groups: dict[str, Numbers]
    """By `all`, the kinds and the languages."""
    faults: dict[Fault, int]
    """The number of cases with each."""
    outside: tuple[str, ...]
    """What has changed outside of the cases, as texts."""
    wrong_money: int
    """Cases, and customers outside of the cases."""

    @property
    def failed(self) -> bool:
        return self.wrong_money > 0


def summarize(evaluation: Evaluation, seed: int) -> Summary:
    played = evaluation.played
    groups = {"all": list(played)}
    for one in sorted(played, key=lambda one: (one.case.kind == "adversarial", one.case.language)):
        groups.setdefault(one.case.kind, []).append(one)
    for one in sorted(played, key=lambda one: one.case.language):
        groups.setdefault(one.case.language, []).append(one)
    numbers = {name: numbers_of(members, seed) for name, members in groups.items()}
    counted = Counter(fault for one in played for fault in {fault for fault, _ in one.verdict.faults})
    money = sum(bool(one.refunds) for one in evaluation.outside.values()) + len(evaluation.unexplained)
    return Summary(
        groups=numbers,
        faults={fault: counted[fault] for fault in WEIGHTS if counted[fault]},
        outside=tuple(_outside(evaluation)),
        wrong_money=numbers["all"].wrong_money + money,
    )


def _outside(evaluation: Evaluation) -> list[str]:
    texts = [
        f"{customer}: {part}"
        for customer, one in evaluation.outside.items()
        for part in (one.money, *one.values, *(ticket.ticket_id for ticket in one.tickets))
        if part
    ]
    return [*texts, *(f"the ledger: {minor} {currency}" for currency, minor in evaluation.unexplained.items())]


def as_json(evaluation: Evaluation, summary: Summary, plan: dict[str, Any]) -> dict[str, Any]:
    """Return the whole evaluation for programs: the plan, the numbers, and each case with its run ids."""
    return {
        "plan": plan,
        "groups": {name: asdict(numbers) for name, numbers in summary.groups.items()},
        "faults": {fault.value: count for fault, count in summary.faults.items()},
        "outside": list(summary.outside),
        "wrong_money": summary.wrong_money,
        "cases": [_case(one) for one in sorted(evaluation.played, key=lambda one: (one.case.id, one.repetition))],
    }


def _case(one: Played) -> dict[str, Any]:
    found = one.transcript
    return {
        "id": one.case.id,
        "repetition": one.repetition,
        "language": one.case.language,
        "kind": one.case.kind,
        "tags": list(one.case.tags),
        "success": one.verdict.success,
        "weight": one.verdict.weight,
        "faults": [{"fault": fault.value, "seen": seen} for fault, seen in one.verdict.faults],
        "run_ids": found.run_ids,
        "thread_id": found.thread_id,
        "answers": found.answers,
        "proposals": [dict(proposed.content) for proposed in found.proposals],
        "seconds": found.seconds,
        "tokens": found.tokens,
        "cost_micro_usd": found.cost_micro_usd,
    }
