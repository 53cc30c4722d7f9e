"""TLS of Envoy's connections to a service that others run."""

import hashlib
import ipaddress
import ssl
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FILES = ("ca", "certificate", "key")
"""The fields that are paths."""
SYSTEM_FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
"""The trusted certificates of Debian, Red Hat and others, where OpenSSL's own setting names no file."""


class Tls(BaseModel):
    """How a service is recognized, and how it recognizes this mesh."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server_name: Annotated[str, Field(max_length=253)] = ""
    """The name in the server's certificate, also sent as SNI and as the authority of calls; the default is the host."""
    ca: Path | None = None
    """PEM certificates, of which one must have issued the server's; the default is those of the system."""
    certificate: Path | None = None
    """This mesh's own certificate in PEM, with those between it and its issuer."""
    key: Path | None = None
    """The private key of `certificate`, in PEM and without a password."""

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key: the one needs the other")
        for name in FILES:
            _check_readable(name, getattr(self, name))
        _check_ca(self.trusted)
        if self.certificate and self.key:
            _check_pair(self.certificate, self.key)
        return self

    @cached_property
    def trusted(self) -> Path:
        """The file with the trusted certificates. Raises ValueError where the system has none."""
        known = (Path(path) for path in (ssl.get_default_verify_paths().cafile, *SYSTEM_FILES) if path)
        found = self.ca or next((path for path in known if path.is_file()), None)
        if found is None:
            raise ValueError("ca: is required, since this system has no file of trusted certificates")
        return found

    @cached_property
    def digest(self) -> str:
        """A value that differs when a file has another content."""
        files = [path.read_bytes() for path in (self.trusted, self.certificate, self.key) if path]
        return hashlib.sha256(b"\0".join(files)).hexdigest()


def is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _check_readable(name: str, path: Path | None) -> None:
    if path is None:
        return
    try:
        path.read_bytes()
    except OSError as error:
        raise ValueError(f"{name}: {path}: {error.strerror}") from None


def _check_ca(path: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (ssl.SSLError, OSError):
        raise ValueError(f"ca: {path} has no certificates in PEM") from None


def _check_pair(certificate: Path, key: Path) -> None:
    def no_password() -> str:
        raise ValueError(f"key: {key} has a password")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, no_password)
    except ssl.SSLError:
        raise ValueError(f"certificate: {certificate} is no certificate in PEM, or {key} is not its key") from None
