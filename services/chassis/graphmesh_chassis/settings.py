"""The settings of a server: read once from the environment and the command line, frozen, with units in names."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from graphmesh_contracts import Overrides
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from graphmesh_chassis.identity import IdentityMode

MAX_PORT = 65535
PRODUCTION = "production"
"""The environment in which every caller has to be identified."""
DEVELOPMENT = "development"
"""The environment in which clients see the causes of failures. It is that of `graphmesh up` without another one."""


class SecretUrl(SecretStr):
    """A URL that may have a password, so it is not shown. One without a password may be an argument of a server."""


def reveal(url: str | SecretStr) -> str:
    """Return a URL for the client that connects to it."""
    return url.get_secret_value() if isinstance(url, SecretStr) else url


def url_like(pattern: re.Pattern[str]) -> AfterValidator:
    """Check a URL against a pattern, without a message that repeats a part of it."""

    def check(value: SecretUrl) -> SecretUrl:
        if not pattern.match(value.get_secret_value()):
            raise ValueError(f"must match {pattern.pattern}")
        return value

    return AfterValidator(check)


def _database_url(value: SecretUrl) -> SecretUrl:
    """Check a URL without a message of its parser, which may repeat a part of it."""
    from sqlalchemy.engine import make_url

    try:
        make_url(value.get_secret_value())
    except Exception:  # whatever the parser raises
        raise ValueError("is not a SQLAlchemy URL") from None
    return value


DatabaseUrl = Annotated[
    SecretUrl,
    url_like(re.compile(r"^(sqlite\+aiosqlite:///|postgresql\+psycopg://).+")),
    AfterValidator(_database_url),
    Field(description="SQLAlchemy URL: sqlite+aiosqlite:///path or postgresql+psycopg://user@host/database"),
]
"""The URL of a service's database."""


PASSWORD_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]+@")


class BadSetting(Exception):
    """A setting of a server is valid by itself and cannot be used: the message is one sentence, with its variable."""


def settings_config(prefix: str) -> SettingsConfigDict:
    """The configuration of a settings class whose environment variables begin with `prefix`."""
    return SettingsConfigDict(
        env_prefix=prefix,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # a URL may hold a password
        cli_kebab_case=True,
        cli_hide_none_type=True,
    )


def _overrides(value: Any) -> Any:
    return Overrides.parse(value) if isinstance(value, str) else value


def target(value: str) -> str:
    """Check `host:port`: gRPC would silently take the lowest 16 bits of a larger number as the port."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > MAX_PORT:
        raise ValueError(f"is not host:port with a port of at most {MAX_PORT}")
    return value


def _call_keys(value: Path | None) -> Path | None:
    """Check that a file has the public keys of call tokens."""
    if value:
        from graphmesh_chassis.call_tokens import CallVerifier

        readable(value, CallVerifier)
    return value


def _certificate(value: Path | None) -> Path | None:
    """Check that a file has a workload's certificate and key."""
    if value:
        from graphmesh_chassis.certificates import certificate

        readable(value, lambda file: certificate(file.read_bytes()))
    return value


def _authorities(value: Path | None) -> Path | None:
    """Check that a file has certificates."""
    if value:
        from graphmesh_chassis.certificates import authorities

        readable(value, lambda file: authorities(file.read_bytes()))
    return value


def readable(file: Path, read: Callable[[Path], object]) -> None:
    """Raise ValueError where `read` cannot use the file, with the reason."""
    try:
        read(file)
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


class ServerSettings(BaseSettings):
    """The settings of every server. A service subclasses it with its own prefix, `GRAPHMESH_<SERVICE>_`."""

    model_config = settings_config("GRAPHMESH_")

    listen: Annotated[str, AfterValidator(target)] = Field(
        default="127.0.0.1:0", description="host:port to listen on; port 0 takes a free port"
    )
    policy: Annotated[Overrides, NoDecode, BeforeValidator(_overrides)] = Field(
        default=Overrides(), description="overrides of the policies in the protos, as JSON"
    )
    identity: IdentityMode = Field(default="open", description="open: calls without identity headers are allowed")
    call_keys: Annotated[Path | None, AfterValidator(_call_keys)] = Field(
        default=None,
        description="a JWKS file: every call needs a token that a key of it has signed, and headers are not believed",
    )
    certificate: Annotated[Path | None, AfterValidator(_certificate)] = Field(
        default=None,
        description="a PEM file with this server's certificate and its private key: mutual TLS, calls of Envoy only",
    )
    authorities: Annotated[Path | None, AfterValidator(_authorities)] = Field(
        default=None, description="a PEM file with the certificates of the authorities that workloads are trusted by"
    )
    redis_url: SecretUrl = Field(
        default=SecretUrl(""),
        description="redis://… by which the processes of a service count rates together; empty: each counts alone",
    )
    rate_answer_seconds: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="how long Redis may take to count a call before calls are decided without it",
    )
    egress: str = Field(
        default="",
        pattern=r"^(http://[A-Za-z0-9_.:\[\]-]+)?$",
        description="http://host:port of the HTTP proxy for calls out of the mesh, that of egress in mesh.yaml",
    )
    environment: str = Field(
        default="",
        description="the environment of mesh.yaml; production requires identity=required, development shows causes",
    )
    drain_seconds: float = Field(
        default=10.0, ge=0, le=3600, description="seconds that calls may continue after the first signal"
    )
    linger_seconds: float = Field(
        default=0.0,
        ge=0,
        le=3600,
        description="seconds that calls are still accepted after the first signal, until proxies notice the shutdown",
    )
    event_loop: Literal["auto", "asyncio"] = Field(
        default="auto", description="auto: uvloop where the platform has it; asyncio: for code that patches asyncio's"
    )
    validate_responses: bool = Field(
        default=False,
        description="validate all responses by the rules of their protos, for tests; those of effects always are",
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    traces: Literal["off", "console", "otlp"] = Field(default="off", description="where spans go")
    otlp_endpoint: str = Field(
        default="http://127.0.0.1:4317", description="the OTLP/gRPC collector, for traces=otlp and metrics=otlp"
    )
    otlp_headers: SecretStr = Field(
        default=SecretStr(""), description="the headers of exports, as name=value,name=value: the key of a collector"
    )
    span_folder: Path | None = Field(
        default=None,
        description="a folder of the local disk where spans are kept until they are exported, also after SIGKILL",
    )
    metrics: Literal["off", "otlp"] = Field(default="off", description="otlp: metrics are sent to otlp_endpoint too")
    metrics_listen: Annotated[str, AfterValidator(lambda value: target(value) if value else value)] = Field(
        default="", description="host:port on which metrics are served to Prometheus, at /metrics; empty: they are not"
    )
    trace_ratio: float = Field(
        default=0.1, ge=0, le=1, description="share of calls without a traceparent that are traced"
    )

    @model_validator(mode="after")
    def _certificate_has_authorities(self) -> Self:
        if (self.certificate is None) != (self.authorities is None):
            prefix = self.model_config.get("env_prefix", "")
            raise ValueError(f"{prefix}CERTIFICATE and {prefix}AUTHORITIES: the one needs the other")
        return self

    @model_validator(mode="after")
    def _callers_are_identified_in_production(self) -> Self:
        if self.environment == PRODUCTION and self.identity == "open" and not self.call_keys:
            setting = f"{self.model_config.get('env_prefix', '')}IDENTITY"
            raise ValueError(f"identity is open, but the environment is {PRODUCTION}; set {setting}=required")
        return self


def check_arguments(settings_type: type[ServerSettings], arguments: Sequence[str]) -> None:
    """Refuse secrets in the arguments of a server, which every user of the machine can read.

    Raises:
        BadSetting: an argument sets a secret, or is a URL with a password.
    """
    prefix = settings_type.model_config.get("env_prefix", "")
    for argument in arguments:
        option = argument.partition("=")[0].removeprefix("--").replace("-", "_")
        for name, field in settings_type.model_fields.items():
            is_meant = argument.startswith("--") and option and name.startswith(option)
            if is_meant and option not in settings_type.model_fields.keys() - {name} and is_secret(field):
                raise BadSetting(f"--{name.replace('_', '-')} is visible to others: set {prefix}{name.upper()}")
        if PASSWORD_IN_URL.search(argument):
            raise BadSetting(f"a password in an argument is visible to others: set the variable {prefix}…")


def is_secret(field: FieldInfo) -> bool:
    """Whether all of a setting is a secret, and not only a part of it, as of a `SecretUrl`."""
    return "SecretStr" in str(field.annotation)
