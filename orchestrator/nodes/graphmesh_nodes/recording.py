"""Records what the nodes of a run decide; the branches of conditional edges are recorded by themselves."""

from collections.abc import Callable, Iterable

from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import NS_SEP
from langgraph.config import get_config

from graphmesh_nodes.context import CONTEXT_KEY, RunContext
from graphmesh_nodes.decisions import Decision, Escalated, Validated, short, shorts


def record_validation(check: str, faults: Iterable[str] = ()) -> None:
    """Record the result of a check as an event of the run; nothing outside of a run.

    Args:
        check: its name, such as `answer`.
        faults: what it has found, as names and not as sentences; none where it has passed.

    Raises:
        TypeError: the faults are one text.
        ValueNotStorable: an asynchronous node has recorded too much without an `await`.
    """
    _record(lambda node, around: Validated(node, around, short(check), shorts(faults)))


def record_escalation(reason: str, to: str = "") -> None:
    """Record that a person takes over as an event of the run; nothing outside of a run.

    Args:
        reason: a name, such as `emergency`.
        to: the queue, the topic or the node that it goes to.

    Raises:
        ValueNotStorable: as `record_validation`.
    """
    _record(lambda node, around: Escalated(node, around, short(reason), short(to)))


def _record(decision: Callable[[str, tuple[str, ...]], Decision]) -> None:
    try:
        config = get_config()
    except RuntimeError:
        return
    record_in(config, decision)


def record_in(config: RunnableConfig, decision: Callable[[str, tuple[str, ...]], Decision]) -> None:
    """Record a decision of the node with this config, which is made for its name and its subgraph; nothing outside of
    a run."""
    configurable = config.get("configurable", {})
    context: RunContext | None = configurable.get(CONTEXT_KEY)
    if context is not None:
        node = str(config.get("metadata", {}).get("langgraph_node", ""))
        context.decided(decision(node, tuple(configurable.get("checkpoint_ns", "").split(NS_SEP)[:-1])))
