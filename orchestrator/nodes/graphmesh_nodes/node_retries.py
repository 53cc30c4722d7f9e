"""The `RetryPolicy` of nodes and tasks: an error of graphmesh that a repetition does not change is not retried."""

from collections.abc import Sequence
from typing import Any

from graphmesh_chassis.errors import GraphmeshError
from langgraph._internal._retry import default_retry_on
from langgraph.pregel import _retry
from langgraph.types import RetryPolicy

_langgraph = _retry._should_retry_on


def keep_decisions() -> None:
    """Let LangGraph execute no node again for a refusal, a denied approval, an exhausted budget or a lost lease.

    LangGraph's default retries every exception that it does not know. A policy that names the error, or has a function
    of its own, decides itself.
    """
    _retry._should_retry_on = _is_retried  # type: ignore[assignment]


def _is_retried(policy: RetryPolicy, error: Exception) -> bool:
    if isinstance(error, GraphmeshError) and not error.retryable and not _decides(policy.retry_on):
        return False
    return _langgraph(policy, error)


def _decides(retry_on: Any) -> bool:
    named = retry_on if isinstance(retry_on, Sequence) else [retry_on]
    return any(
        issubclass(one, GraphmeshError) if isinstance(one, type) else one is not default_retry_on for one in named
    )
