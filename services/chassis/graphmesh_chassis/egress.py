"""The way out of the mesh: the HTTP proxy of a process, which connects to the hosts of its list in mesh.yaml only."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from graphmesh_contracts.egress import NOT_LISTED, PRIVATE, REFUSAL_HEADER

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY")
"""In upper case: libraries of Python read both, and that of gRPC, which calls the mesh, only those in lower case."""
REPLACED = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})
PARTS = {str(NOT_LISTED): "host", str(PRIVATE): "address"}
"""What is refused by the status of the answer to CONNECT, of which HTTP clients show nothing else."""
PROXY_ERRORS = frozenset({"ProxyError", "ClientHttpProxyError"})
STATUS = re.compile(rf"\b({'|'.join(PARTS)})\b")
MAX_CAUSES = 10
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Refusal:
    """A call that the proxy refuses."""

    host: str
    """`host:port`; empty where the HTTP client does not state it."""
    is_address: bool
    """Whether the list has the host, and it resolves to a private address."""

    def advice(self, workload: str) -> str:
        """Return one sentence with the key of mesh.yaml."""
        host = self.host or "the host"
        key = f"egress.workloads.{workload}"
        if self.is_address:
            return f"{host} resolves to a private address, which {key}.private of mesh.yaml does not have"
        return f"The proxy of {workload} refuses {host}: it is not in {key}.hosts of mesh.yaml"


def use_proxy(url: str) -> None:
    """Let the HTTP clients that this process makes from now on call through a proxy, and no other."""
    for name in [name for name in os.environ if name.lower() in REPLACED]:
        del os.environ[name]
    os.environ.update(dict.fromkeys(VARIABLES, url))


def refusal(error: BaseException) -> Refusal | None:
    """Return the refusal that an exception of an HTTP client, or one that it caused, is about; None: another cause."""
    chain = list(_chain(error))
    part = next(filter(None, map(_part, chain)), None)
    return Refusal(next(filter(None, map(_host, chain)), ""), part == "address") if part else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen and len(seen) < MAX_CAUSES:
        seen.append(following)
        yield following
        following = following.__cause__ or following.__context__


def _part(error: BaseException) -> str | None:
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    if (marked := headers.get(REFUSAL_HEADER)) in PARTS.values():
        return str(marked)
    if not PROXY_ERRORS & {kind.__name__ for kind in type(error).__mro__}:
        return None
    found = STATUS.search(str(error))
    return PARTS[found[0]] if found else None


def _host(error: BaseException) -> str:
    try:
        url = error.request.url  # type: ignore[attr-defined]
        return f"{url.host}:{url.port or DEFAULT_PORTS[url.scheme]}"
    except (AttributeError, KeyError, RuntimeError):
        return ""
