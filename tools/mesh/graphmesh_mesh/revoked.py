"""The file of revoked tokens, subjects and tenants, which the edge refuses although their tokens are valid."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.mesh_files import problem_at, read_yaml

MAX_REVOKED = 10_000
"""The most entries of the file: Envoy has all of them in memory. Those of tokens that have expired may be deleted."""

TENANT, SUBJECT = r"[a-z0-9][a-z0-9_-]{0,62}", r"[!-~]{1,255}"
"""The rules for the tenant and the subject of a token."""
TokenId = Annotated[str, Field(pattern=r"^[!-~]{1,255}$")]
Tenant = Annotated[str, Field(pattern=f"^{TENANT}$")]
Subject = Annotated[str, Field(pattern=f"^{TENANT}/{SUBJECT}$")]


class Revoked(BaseModel):
    """The content of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: tuple[TokenId, ...] = ()
    """Tokens by their claim `jti`."""
    subjects: Mapping[Subject, AwareDatetime] = {}
    """All tokens of a subject, `acme/mira`, that were issued before a time, by their claim `iat`."""
    tenants: Mapping[Tenant, AwareDatetime] = {}
    """All tokens of a tenant that were issued before a time."""

    @classmethod
    def read(cls, path: Path) -> "Revoked":
        """Read a file. Raises MeshError with the file, the line, the key and the rule."""
        try:
            return cls.model_validate(read_yaml(path))
        except MeshError as error:
            raise MeshError(f"{path}: {error}") from None
        except ValidationError as error:
            raise MeshError(problem_at(path, error.errors()[0]["loc"], _rule(error))) from None

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        if (count := len(self.tokens) + len(self.subjects) + len(self.tenants)) > MAX_REVOKED:
            raise ValueError(f"has {count:,} entries, and may have {MAX_REVOKED:,}")
        return self

    def with_token(self, token_id: str) -> "Revoked":
        """Return it with one more token. Raises ValueError: it is no id, or there are too many."""
        try:
            return Revoked.model_validate({**self.model_dump(), "tokens": sorted({*self.tokens, token_id})})
        except ValidationError as error:
            raise ValueError(_rule(error)) from None

    def joined(self, other: "Revoked") -> "Revoked":
        """Return all that either of them revokes. Raises MeshError: together they have too many entries."""
        try:
            return Revoked(
                tokens=tuple(sorted({*self.tokens, *other.tokens})),
                subjects=_latest(self.subjects, other.subjects),
                tenants=_latest(self.tenants, other.tenants),
            )
        except ValidationError as error:
            raise MeshError(f"identity.revoked: with revoked.yaml {_rule(error)}") from None

    def table(self) -> dict[str, Any]:
        """Return it as the filter has it, with times in seconds since 1970."""
        return {
            "tokens": dict.fromkeys(self.tokens, True),
            "subjects": {name: int(time.timestamp()) for name, time in self.subjects.items()},
            "tenants": {name: int(time.timestamp()) for name, time in self.tenants.items()},
        }


def _read_of_mesh(given: Any) -> Any:
    try:
        return Revoked.read(given) if isinstance(given, Path) else given
    except MeshError as error:
        raise ValueError(str(error)) from None


RevokedFile = Annotated[Revoked, BeforeValidator(_read_of_mesh)]
"""Given by its path."""


def _rule(error: ValidationError) -> str:
    """Return the first rule that is broken."""
    return error.errors()[0]["msg"].removeprefix("Value error, ")


def _latest(one: Mapping[str, AwareDatetime], other: Mapping[str, AwareDatetime]) -> dict[str, AwareDatetime]:
    return {name: max(times[name] for times in (one, other) if name in times) for name in (*one, *other)}
