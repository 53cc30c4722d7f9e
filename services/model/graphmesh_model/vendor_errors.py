"""Translates the exceptions of vendors' packages, without their texts: those may quote the prompt or the key."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from graphmesh_chassis.egress import refusal
from graphmesh_chassis.errors import (
    EgressRefused,
    GraphmeshError,
    ProviderMisconfigured,
    ProviderUnavailable,
    RateLimited,
    RuleViolated,
)

from graphmesh_model.faults import Fault

REFUSED_PROMPT = frozenset({400, 413, 422})
"""HTTP statuses by which vendors refuse a prompt."""
REJECTED: Mapping[int, str] = {401: "key", 402: "account", 403: "key", 404: "model"}
"""HTTP statuses by which vendors refuse a part of the service's settings."""
TOO_MANY_REQUESTS = 429
NO_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "credit_balance_too_low"})
"""Vendors' codes of a 429 that waiting does not end."""
MAX_RETRY_AFTER = 3600.0
MAX_CAUSES = 10
WORKLOAD = "model"
"""The name of its list of hosts in mesh.yaml."""
FAULTS_BY_CLASS: Mapping[str, Fault] = {
    "ResponseTooLarge": Fault.TOO_LARGE,
    "RemoteProtocolError": Fault.CUT_OFF,
    "ReadError": Fault.CUT_OFF,
    "IncompleteReadError": Fault.CUT_OFF,
    "ConnectError": Fault.UNREACHABLE,
    "ConnectTimeout": Fault.UNREACHABLE,
    "PoolTimeout": Fault.UNREACHABLE,
    "ProxyError": Fault.UNREACHABLE,
    "TimeoutException": Fault.STALLED,
    "APITimeoutError": Fault.STALLED,
    "TimeoutError": Fault.STALLED,
    "APIConnectionError": Fault.UNREACHABLE,
    "ConnectionError": Fault.UNREACHABLE,
}
"""The classes of HTTP clients' and vendors' packages, the innermost cause first."""
CODE = re.compile(r"[\w.\[\]-]{1,64}")
"""Vendors' codes and names of parameters, which quote nothing."""


@contextmanager
def translated(vendor: str, model: str) -> Iterator[None]:
    """Translate every exception: what a vendor sends makes LangChain's packages raise builtin exceptions, too."""
    try:
        yield
    except GraphmeshError:
        raise
    except Exception as error:
        raise mesh_error(error, vendor, model) from None  # the cause is logged with its text


def mesh_error(error: Exception, vendor: str, model: str) -> GraphmeshError:
    if refused := refusal(error):
        message, fault = refused.advice(WORKLOAD), Fault.EGRESS.value
        return EgressRefused(message, workload=WORKLOAD, host=refused.host, provider=vendor, fault=fault)
    status, code = _http_status(error), _code(error, "code")
    if code in NO_CREDIT or status in REJECTED:
        return _misconfigured("account" if code in NO_CREDIT or status is None else REJECTED[status], vendor, model)
    if status == TOO_MANY_REQUESTS:
        message = f"The provider {vendor} accepts no more calls at the moment"
        fault = Fault.RATE_LIMITED.value
        return RateLimited(message, retry_after=_retry_after(error), provider=vendor, fault=fault)
    if status in REFUSED_PROMPT:
        details = {"code": code, "param": _code(error, "param")}
        given: dict[str, Any] = {name: value for name, value in details.items() if value}
        hint = f": {', '.join(f'{name} {value}' for name, value in given.items())}" if given else ""
        message = f"The provider {vendor} rejected the request{hint}"
        fault = Fault.REFUSED.value
        return RuleViolated(message, rule="provider_refused", provider=vendor, status=status, fault=fault, **given)
    return unavailable(vendor, Fault.SERVER if status is not None else _fault(error), type(error).__name__)


def unavailable(vendor: str, fault: Fault, cause: str) -> ProviderUnavailable:
    """`cause` is the name of an exception, or a clause."""
    message = f"The provider {vendor} gave no usable answer ({fault.value}): {cause}"
    return ProviderUnavailable(message, provider=vendor, fault=fault.value, cause=cause)


def _fault(error: BaseException) -> Fault:
    """Return the class of an exception, by the names of its classes and of those of its causes."""
    chain: list[BaseException] = []
    while error not in chain and len(chain) < MAX_CAUSES:
        chain.append(error)
        error = error.__cause__ or error.__context__ or error
    names = [kind.__name__ for one in reversed(chain) for kind in type(one).__mro__]
    return next((FAULTS_BY_CLASS[name] for name in names if name in FAULTS_BY_CLASS), Fault.MALFORMED)


def _misconfigured(rejected: str, vendor: str, model: str) -> ProviderMisconfigured:
    sentences = {
        "key": f"The provider {vendor} rejects the API key of the model service",
        "account": f"The account of the model service at {vendor} has no credit",
        "model": f"The provider {vendor} does not know the model {model} at the address of the settings",
    }
    return ProviderMisconfigured(sentences[rejected], provider=vendor, rejected=rejected, model=model, fault=rejected)


def _http_status(error: Exception) -> int | None:
    for source in (error, getattr(error, "response", None)):
        for name in ("status_code", "code"):
            status = getattr(source, name, None)
            if isinstance(status, int):
                return status
    return None


def _code(error: Exception, name: str) -> str:
    value = getattr(error, name, None)
    return value if isinstance(value, str) and CODE.fullmatch(value) else ""


def _retry_after(error: Exception) -> float | None:
    """Return the seconds that the vendor requests, at most an hour; None where it states none that can be read."""
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return _bounded(float(milliseconds) / 1000)
        return _bounded(_seconds(headers.get("retry-after", "")))
    except ValueError:
        return None


def _seconds(text: str) -> float:
    """Raises ValueError where `text` is neither a number of seconds nor a date."""
    if re.fullmatch(r"[0-9.]{1,20}", text):
        return float(text)
    date = parsedate_to_datetime(text)
    return (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _bounded(seconds: float) -> float | None:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER) if math.isfinite(seconds) else None
