"""The identity of a caller: tenant, subject and scopes, read from metadata."""

import re
from dataclasses import dataclass
from typing import Literal

from graphmesh_chassis import metadata
from graphmesh_chassis.errors import InvalidMetadata, ScopeMissing, Unauthenticated

IdentityMode = Literal["open", "required"]
"""`open`: a call without identity headers gets the tenant `default`, the subject `local` and every scope, which is for
development on one machine. `required`: such a call is refused."""

DEFAULT_TENANT = "default"
APPROVALS = "approvals."
ALL_APPROVALS = f"{APPROVALS}*"
"""The scope that stands for those of all approvals, which graphs name too."""
TENANT_RULE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
MAX_LENGTH = 255
"""Characters of a subject and of a client, which are stored, and of a customer."""


@dataclass(frozen=True)
class Caller:
    """The identity that a call carries in its metadata."""

    tenant: str
    subject: str
    scopes: frozenset[str] | None
    """None: every scope."""
    roles: frozenset[str] | None = None
    """None: the call states none."""
    client: str = ""
    """The program that the caller's token was issued to; empty where it states none."""
    customer: str = ""
    """The customer that the call is bound to; empty where it is bound to none."""

    @classmethod
    def of(cls, headers: metadata.Metadata, mode: IdentityMode) -> "Caller":
        """Read the identity headers of a call.

        Raises:
            Unauthenticated: a header is missing, or the subject is empty, and the mode requires it.
            InvalidMetadata: the tenant does not match TENANT_RULE, the subject, the client or the customer is too long,
                or the customer is empty, which is not none. An empty tenant is none, and not the default.
        """
        if mode == "required":
            for header in (metadata.TENANT, metadata.SUBJECT, metadata.SCOPES):
                if header not in headers or (header == metadata.SUBJECT and not headers[header]):
                    raise Unauthenticated(header=header)
        tenant = metadata.text(headers, metadata.TENANT) if metadata.TENANT in headers else DEFAULT_TENANT
        if not TENANT_RULE.fullmatch(tenant):
            raise InvalidMetadata(header=metadata.TENANT, rule="lower-case letters, digits, - and _, 63 at the most")
        subject, client = _name(headers, metadata.SUBJECT), _name(headers, metadata.CLIENT)
        scopes, customer = metadata.text(headers, metadata.SCOPES), _name(headers, metadata.CUSTOMER)
        if metadata.CUSTOMER in headers and not customer:
            raise InvalidMetadata(header=metadata.CUSTOMER, rule="one character at least")
        return cls(
            tenant=tenant,
            subject=subject or "local",
            scopes=frozenset(scopes.split()) if metadata.SCOPES in headers else None,
            roles=frozenset(metadata.text(headers, metadata.ROLES).split()) if metadata.ROLES in headers else None,
            client=client,
            customer=customer,
        )

    def require(self, scopes: frozenset[str]) -> None:
        """Check that the caller has all of `scopes`.

        Raises:
            ScopeMissing: at least one is missing; the error lists them.
        """
        missing = scopes - self.scopes if self.scopes is not None else frozenset()
        if missing and self.scopes and ALL_APPROVALS in self.scopes:
            missing = frozenset(scope for scope in missing if not scope.startswith(APPROVALS))
        if missing:
            raise ScopeMissing(scopes=" ".join(sorted(missing)))


def _name(headers: metadata.Metadata, header: str) -> str:
    """Raises InvalidMetadata where it is too long."""
    if len(name := metadata.text(headers, header)) > MAX_LENGTH:
        raise InvalidMetadata(header=header, rule=f"{MAX_LENGTH} characters at the most")
    return name
