"""Finds links and images in a text that lead to hosts outside of a list, however they are written."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator

MAX_LABELS = 10
"""The labels of a host that are compared, from its end."""

_DOTS = re.compile(r"[ \t]?[\[({<][ \t]?(?:\.|dot|punkt|point|punto)[ \t]?[\])}>][ \t]?|[ \t]dot[ \t]", re.IGNORECASE)
_COLONS = re.compile(r"[\[({<]:(?://)?[\])}>]|&colon;|&#58;|&#x3a;", re.IGNORECASE)
_SLASHES = re.compile(r"[\[({<]/{1,2}[\])}>]|&sol;|&#47;|&#x2f;", re.IGNORECASE)
_STARTS = re.compile(
    r"(?:h[tx]{2}ps?|ftps?|wss?)[ \t]{0,2}:[ \t]{0,2}[/\\]{0,6}"
    r"|[a-z][a-z0-9+.-]{1,20}:[/\\]{2,6}"
    r"|(?<![\w:/\\])[/\\]{2}(?=[\w\[])",
    re.IGNORECASE,
)
_AUTHORITY = re.compile(r"[^\s/\\?#\"'<>()\[\]|`]{1,256}")
_BAD_SCHEME = re.compile(r"(?<!\w)(?:javascript|vbscript|file|blob|data(?=:[a-z]{2,20}/|:[,;]))[ \t]{0,4}:(?!\s)", re.I)
_BARE = re.compile(r"(?<![\w@.-])(?:[\w-]{1,63}\.){1,8}([^\W\d_]{2,24}|xn--[\w-]{1,59})(?![\w-])([:/?#]?)")
_LAST_LABELS = """
com net org info biz io ai app dev edu gov mil int eu fr pt nl pl uk us ca au jp cn ru ua tr kr br mx dk fi cz sk hu ro
bg gr ie cc tv ws xyz site online store shop club icu vip cloud click tech pro zip mov onion lol fun space website host
cyou buzz tk ml ga cf gq su example
"""
_DOMAINS = frozenset(_LAST_LABELS.split())
"""Last labels by which a host is one without a scheme. Those that are words, such as `it`, need a path or `www`."""


def leads_elsewhere(text: str, hosts: Iterable[str]) -> bool:
    """Return whether a text has a link or image that leads to another host than these and their subdomains, or a
    scheme that carries contents or code."""
    listed = {_plain(host) for host in hosts}
    view = _shown(text)
    return bool(_BAD_SCHEME.search(view)) or any(not _is_listed(host, listed) for host in _hosts(view))


def _is_listed(host: str, listed: Collection[str]) -> bool:
    """Look-alikes in other scripts are other hosts."""
    labels = host.split(".")[-MAX_LABELS:]
    return any(".".join(labels[index:]) in listed for index in range(len(labels)))


def _shown(text: str) -> str:
    """The text as a browser reads it: without invisible characters, in compatibility forms, with dots as dots."""
    visible = "".join(character for character in text if character.isascii() or unicodedata.category(character) != "Cf")
    view = unicodedata.normalize("NFKC", visible).replace("\u3002", ".")
    return _DOTS.sub(".", _SLASHES.sub("//", _COLONS.sub(_colon, view)))


def _colon(match: re.Match[str]) -> str:
    return "://" if "//" in match.group() else ":"


def _hosts(view: str) -> Iterator[str]:
    for start in _STARTS.finditer(view):
        if authority := _AUTHORITY.match(view, start.end()):
            yield _plain(authority.group().rpartition("@")[2])
    for match in _BARE.finditer(view):
        last, follows = match[1].lower(), match[2]
        is_certain = bool(follows) and follows in ":/" and match.end() < len(view) and not view[match.end()].isspace()
        is_named = last.startswith("xn--") or match.group().lower().startswith("www.") or last in _DOMAINS
        if is_named or is_certain:
            yield _plain(match.group())


def _plain(host: str) -> str:
    """A host in the form that is compared: lower case, without port and final dots and what ends a sentence."""
    name = host.strip().lower().rstrip("/?#.,;!*_:")
    before, colon, port = name.rpartition(":")
    return (before if colon and port.isdecimal() else name).rstrip(".")
