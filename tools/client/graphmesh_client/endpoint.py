"""The address of an orchestrator, in the forms in which programs and people write it."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

FORMS = "host:port, http://host:port or https://host"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Endpoint:
    """The address to connect to, and whether the connection has TLS."""

    target: str
    """`host:port`."""
    tls: bool = False

    @classmethod
    def parse(cls, address: str) -> "Endpoint":
        """Parse `host:port`, which is without TLS, or a URL of HTTP or HTTPS without a path.

        Raises:
            ValueError: the address has another form.
        """
        has_scheme = re.match(r"[a-z][a-z0-9+.-]*://", address, re.IGNORECASE)
        try:
            url = urlsplit(address if has_scheme else f"//{address}", scheme="tcp")
            port = url.port or _PORTS.get(url.scheme)
        except ValueError:  # the port is not a number, or too large
            raise _invalid(address) from None
        is_plain = not (url.path.strip("/") or url.query or url.fragment or url.username is not None)
        if not (is_plain and url.hostname and port) or url.scheme not in {"tcp", *_PORTS} or re.search(r"\s", address):
            raise _invalid(address)
        host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
        return cls(f"{host}:{port}", tls=url.scheme == "https")


def _invalid(address: str) -> ValueError:
    return ValueError(f"the address {address!r} must be {FORMS}")
