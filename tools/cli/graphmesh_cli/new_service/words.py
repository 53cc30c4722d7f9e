"""The words that a new service is made of, and which of them cannot be."""

import io
import keyword
import re
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass

WORD = re.compile(r"[a-z][a-z0-9]*(_[a-z][a-z0-9]*)*")
MAX_LENGTH = 30
PACKAGES_BELOW = frozenset({"buf", "google", "graphmesh"})
"""Packages that the contracts import by relative names: one of ours called so would hide them."""


class BadName(ValueError):
    """A name that no service, or no resource, can have."""


@dataclass(frozen=True)
class Words:
    """The names of one service and of the one resource that it begins with, in every spelling that its files need."""

    service: str
    resource: str

    @classmethod
    def of(cls, service: str, resource: str = "") -> "Words":
        """The words of `service`; its resource is the singular of its name, if not given.

        Raises:
            BadName: one is not of the form of names, or means something in Python or in the contracts.
        """
        words = cls(service, resource or singular(service))
        for kind, name in (("service", words.service), ("resource", words.resource)):
            _check(kind, name)
        return words

    @property
    def resources(self) -> str:
        return plural(self.resource)

    @property
    def distribution(self) -> str:
        return f"graphmesh-{_dashed(self.service)}"

    @property
    def substitutions(self) -> dict[str, str]:
        """By the placeholders of the templates."""
        return {
            "service": self.service,
            "Service": _camel(self.service),
            "SERVICE": self.service.upper(),
            "dist": _dashed(self.service),
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
        """Raises BadName where the resource is called like something that the Python `sources` use already."""
        used = {name for source in sources for name in _identifiers(source)}
        spellings = {self.resource, self.resources, _camel(self.resource), _camel(self.resources)}
        if taken := sorted(used & spellings):
            raise BadName(f"{taken[0]!r} means something else in the code of a service; choose another --resource")


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
        raise BadName(
            f"{name!r} cannot be the name of a {kind}: lower-case letters, digits and single underscores, a letter "
            f"after each, {MAX_LENGTH} characters at the most"
        )
    if keyword.iskeyword(name) or name in PACKAGES_BELOW:
        owner = "Python" if keyword.iskeyword(name) else "the contracts"
        raise BadName(f"{name!r} cannot be the name of a {kind}: it means something in {owner}")


def _identifiers(source: str) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _spaced(name: str) -> str:
    return name.replace("_", " ")
