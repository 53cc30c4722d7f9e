"""The output of `graphmesh chaos`."""

from collections.abc import Sequence

from rich.console import Console
from rich.rule import Rule

from graphmesh_chaos.injector import InjectedFault
from graphmesh_chaos.recovery import percentile
from graphmesh_chaos.summary import Summary

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "longest": 1.0}


def print_fault(console: Console, injected: InjectedFault) -> None:
    fault = injected.fault
    console.print(f"  {fault.at:7.2f} s  {fault.kind:<14} {fault.target:<24} for {fault.seconds:.2f} s", style="dim")


def print_progress(console: Console, summary: Summary, rest: str) -> None:
    """The sums so far, and the options of the remaining rounds."""
    console.print(f"  {_deaths(summary)}, {summary.runs} runs, no violation; recovery {_recovery(summary.recovery)}")
    console.print(f"  to resume from here: {rest}", style="dim")


def print_summary(console: Console, summary: Summary, option: str, recovery_note: str) -> None:
    faults = ", ".join(f"{count} × {fault}" for fault, count in sorted(summary.faults.items())) or "none"
    interrupted = f"{summary.interrupted_runs} runs and {summary.interrupted_calls} calls interrupted"
    recovered = f"{len(summary.recovery)} runs of killed orchestrators"
    console.print(Rule("Result"))
    console.print("  faults    ", faults)
    console.print("  deaths    ", f"{_deaths(summary)}; {interrupted}")
    console.print("  databases ", f"{summary.runs} runs, {summary.charges} charges, {summary.tickets} tickets")
    console.print("  approvals ", f"{summary.approvals} requested, {summary.answers} answers acknowledged")
    console.print("  sessions  ", f"{summary.operations} calls recorded on threads with several runs")
    console.print("  takeovers ", f"{summary.takeovers}")
    console.print("  recovery  ", f"{_recovery(summary.recovery)}, for {recovered}{recovery_note}")
    taken_over = f"{len(summary.takeover)} runs of orchestrators without PostgreSQL"
    console.print("  takeover  ", f"{_recovery(summary.takeover)}, for {taken_over}")
    _print_verdict(console, summary, option)


def _print_verdict(console: Console, summary: Summary, option: str) -> None:
    for violation in summary.violations:
        console.print(f"  ✗ {violation}", style="red", markup=False)
    if summary.violations:
        repeat = f"repeat the same faults with {option}--seed {summary.seed}"
        console.print(f"  {len(summary.violations)} violations; {repeat}", style="bold red")
    else:
        console.print("  ✓ every invariant holds", style="bold green")


def _deaths(summary: Summary) -> str:
    return f"{summary.deaths} deaths, {summary.deaths_at_work} of them at work"


def _recovery(waits: Sequence[float]) -> str:
    percentiles = (f"{name} {percentile(waits, share):.1f} s" for name, share in PERCENTILES.items() if waits)
    return ", ".join(percentiles) or "not measured"
