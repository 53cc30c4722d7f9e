"""Certificates of workloads in PEM, each with its private key in the same file."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----[^-]*-----END \1-----\n?")
KEY, CERTIFICATE = "PRIVATE KEY", "CERTIFICATE"
SPIFFE_ID = re.compile(r"spiffe://(?P<trust_domain>[a-z0-9._-]{1,255})/[A-Za-z0-9._/-]{1,1500}")


@dataclass(frozen=True, eq=False)
class Certificate:
    """A workload's certificate."""

    chain: bytes
    """In PEM: the certificate, and those between it and its authority."""
    key: bytes
    """In PEM."""
    identity: str
    """Its SPIFFE ID."""
    names: tuple[str, ...]
    """Its DNS names."""

    @property
    def trust_domain(self) -> str:
        found = SPIFFE_ID.fullmatch(self.identity)
        return found["trust_domain"] if found else ""


def certificate(content: bytes) -> Certificate:
    """Read a certificate with its key. Raises ValueError with the rule that they break."""
    blocks = [(match[1], match[0].encode()) for match in BLOCK.finditer(content.decode("ascii", "replace"))]
    keys = [block for kind, block in blocks if kind.endswith(KEY)]
    chain = b"".join(block for kind, block in blocks if kind == CERTIFICATE)
    if len(keys) != 1:
        raise ValueError(f"must have one private key in PEM, and has {len(keys)}")
    try:
        key = serialization.load_pem_private_key(keys[0], None)
    except (ValueError, TypeError):
        raise ValueError("has a private key with a password, or one that cannot be read") from None
    own = _certificates(chain)[0]
    if own.public_key() != key.public_key():
        raise ValueError("has a certificate of another key: the workload's own must be the first one")
    if own.not_valid_after_utc <= datetime.now(UTC):
        raise ValueError(f"has a certificate that has expired at {own.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    return Certificate(chain, keys[0], *_names(own))


def authorities(content: bytes) -> bytes:
    """Check the certificates of authorities, and return them. Raises ValueError where there are none."""
    _certificates(content)
    return content


def _certificates(content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise ValueError("has no certificates in PEM, or one that cannot be read") from None


def _names(certificate: x509.Certificate) -> tuple[str, tuple[str, ...]]:
    """Return the SPIFFE ID of a certificate, and its DNS names."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1 or not SPIFFE_ID.fullmatch(uris[0]):
        raise ValueError("has a certificate without an identity: it needs one URI, spiffe://TRUST DOMAIN/WORKLOAD")
    return uris[0], tuple(names.get_values_for_type(x509.DNSName))
