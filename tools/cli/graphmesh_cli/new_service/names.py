"""The names of a new service and of its resource, and the rules for them."""

import io
import keyword
import re
import sys
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass

WORD = re.compile(r"[a-z][a-z0-9]*(_[a-z][a-z0-9]*)*")
MAX_LENGTH = 30
RESERVED_PACKAGES = frozenset({"buf", "google", "graphmesh"})
"""Packages that generated code imports by relative names; a service of the same name would hide them."""


class InvalidName(ValueError):
    """A service or a resource cannot have the name."""


@dataclass(frozen=True)
class Names:
    """The names of a service and of its first resource, in every spelling that the templates need."""

    service: str
    resource: str
    team: str | None = None
    """The team whose repository it gets; empty for one without a name. None: the service is one of this repository."""

    @classmethod
    def of(cls, service: str, resource: str = "", team: str | None = None) -> "Names":
        """Check the names; the resource defaults to the singular of the service.

        Raises:
            InvalidName: a name is malformed, a keyword or a module of Python, or reserved by the contracts.
        """
        names = cls(service, resource or singular(service), team)
        checked = {"service": names.service, "resource": names.resource} | ({"team": team} if team else {})
        for kind, name in checked.items():
            _check(kind, name)
        if team is not None and (owner := team or service) in sys.stdlib_module_names:
            raise InvalidName(f"{owner!r} is a module of Python, which its contracts would hide: name a --team")
        return names

    @property
    def package(self) -> str:
        """The package of the contracts, without its version."""
        team = "graphmesh" if self.team is None else self.team
        return f"{team}.{self.service}" if team else self.service

    @property
    def module(self) -> str:
        """The Python package of the server."""
        return f"graphmesh_{self.service}" if self.team is None else f"{self.service}_service"

    @property
    def resources(self) -> str:
        return plural(self.resource)

    @property
    def distribution(self) -> str:
        return _dashed(self.module)

    @property
    def contracts(self) -> str:
        """The distribution of the contracts of a team."""
        return f"{_dashed(self.package.replace('.', '_'))}-contracts"

    @property
    def substitutions(self) -> dict[str, str]:
        """The spellings, keyed by the placeholders of the templates."""
        return {
            "service": self.service,
            "Service": _camel(self.service),
            "SERVICE": self.service.upper(),
            "package": self.package,
            "folder": self.package.replace(".", "/"),
            "root": self.package.partition(".")[0],
            "module": self.module,
            "distribution": self.distribution,
            "contracts": self.contracts,
            "resource": self.resource,
            "Resource": _camel(self.resource),
            "RESOURCE": self.resource.upper(),
            "resources": self.resources,
            "Resources": _camel(self.resources),
            "noun": _spaced(self.resource),
            "nouns": _spaced(self.resources),
            "Nouns": _spaced(self.resources).capitalize(),
        }

    def check_unused(self, sources: Iterable[str]) -> None:
        """Raises InvalidName where the Python `sources` use an identifier that is spelled like the resource."""
        used = {name for source in sources for name in _identifiers(source)}
        spellings = {self.resource, self.resources, _camel(self.resource), _camel(self.resources)}
        if taken := sorted(used & spellings):
            raise InvalidName(f"{taken[0]!r} is an identifier in the code of every service; choose another --resource")


def singular(name: str) -> str:
    if name.endswith("ies") and len(name) > 4:
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def plural(name: str) -> str:
    if name.endswith("y") and name[-2:-1] not in set("aeiou"):
        return name[:-1] + "ies"
    return name + ("es" if name.endswith(("s", "x", "z", "ch", "sh")) else "s")


def _check(kind: str, name: str) -> None:
    if not WORD.fullmatch(name) or len(name) > MAX_LENGTH:
        raise InvalidName(
            f"{name!r} cannot be the name of a {kind}: use lower-case letters, digits and single underscores, a letter "
            f"first and behind each underscore, and at most {MAX_LENGTH} characters"
        )
    if keyword.iskeyword(name) or name in RESERVED_PACKAGES:
        owner = "Python" if keyword.iskeyword(name) else "the contracts"
        raise InvalidName(f"{name!r} cannot be the name of a {kind}: it is reserved by {owner}")


def _identifiers(source: str) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _spaced(name: str) -> str:
    return name.replace("_", " ")
